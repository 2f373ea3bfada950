package reliability_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every kind of fault, at random moments and on top of each other, and nothing lost, doubled or out of order. Without
// -duration this is the short form.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	f := shortForm
	if *durationFlag > 0 {
		f = longForm
		f.duration = *durationFlag
	}
	a := newArena(t, f, seed, "")
	o := a.run(newSchedule(seed, f.duration, f.pace, f.seats))
	e, err := a.collect(t.Context())
	require.NoError(t, err)
	v := judge(e)
	o.log(t, a)
	t.Logf("PostgreSQL %d, seed %d: %+v", a.machine.Major(), seed, v)
	require.True(t, v.sound(), "PostgreSQL %d, seed %d: %+v", a.machine.Major(), seed, v)
	require.Zero(t, o.unrecovered, "seed %d: faults after which something was never handled again", seed)
	for _, k := range kinds {
		require.Positive(t, o.count[k.name], "seed %d: %s did not happen", seed, k.name)
	}
}

// log prints how often each fault happened and how long recoveries took.
func (o outcome) log(t *testing.T, a *arena) {
	t.Helper()
	for _, k := range kinds {
		took := slices.Clone(o.recoveries[k.name])
		slices.Sort(took)
		if len(took) == 0 {
			t.Logf("%-24s %4d", k.name, o.count[k.name])
			continue
		}
		at := func(p int) time.Duration { return took[(len(took)-1)*p/100].Round(time.Millisecond) }
		t.Logf("%-24s %4d, recovery p50 %v, p99 %v, longest %v", k.name, o.count[k.name], at(50), at(99), at(100))
	}
	t.Logf("%d events in %v; appends that failed: %v", a.record.total(), o.took.Round(time.Second), a.record.failures)
}
