package reliability_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/containers"
)

// Every kind of fault, at random moments and on top of each other, and nothing lost, doubled or out of order. Without
// -duration this is the short form.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	f := shortForm
	if *durationFlag > 0 {
		f = longForm
		f.duration, f.pace = *durationFlag, *paceFlag
	}
	m := newMachine(t, nil)
	a := newArena(t, f, seed, m, testdb.On(t, m), "")
	o := a.run(newSchedule(seed, f))
	e, err := a.collect(t.Context())
	require.NoError(t, err)
	v := judge(e)
	r := summarize(a, o, v)
	r.log(t)
	t.Logf("PostgreSQL %d, seed %d: %+v; appends that failed: %v", r.Postgres, seed, v, a.record.failures)
	if *recordFlag != "" {
		require.NoError(t, soakTable.publish(*recordFlag, r))
	}
	require.True(t, v.sound(), "PostgreSQL %d, seed %d: %+v", r.Postgres, seed, v)
	o.require(t, a)
}

// require wants everything to have recovered, and every kind of fault to have happened.
func (o outcome) require(t *testing.T, a *arena) {
	t.Helper()
	require.Zero(t, o.unrecovered, "seed %d: faults after which something was never handled again", a.seed)
	for _, k := range a.form.kinds() {
		name := k.name
		if k.target == servers {
			name = k.make(a, entry{}).Name()
		}
		require.Positive(t, o.count[name], "seed %d: %s did not happen", a.seed, name)
	}
}

// newMachine runs the server that is broken.
func newMachine(t *testing.T, settings map[string]string) testdb.Machine {
	t.Helper()
	if *imageFlag != "" {
		return containers.Start(t, *imageFlag, settings)
	}
	return testdb.Server(t, settings)
}

// log prints how often each fault happened and how long recoveries took.
func (r run) log(t *testing.T) {
	t.Helper()
	t.Logf("PostgreSQL %d, seed %d: %d events in %d s", r.Postgres, r.Seed, r.Events, r.Seconds)
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, k := range kinds {
		f := r.Faults[k.name]
		t.Logf("%-22s %4d times, recovery p50 %v, p99 %v, longest %v; %d alone: p50 %v, p99 %v", k.name, f.Count,
			ms(f.P50), ms(f.P99), ms(f.Max), len(f.Alone), ms(percentile(f.Alone, 50)), ms(percentile(f.Alone, 99)))
	}
}
