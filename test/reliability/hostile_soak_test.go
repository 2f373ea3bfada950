package reliability_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// hostileSettings are those of the server of a soak with hostile handlers: latencies are taken from it.
var hostileSettings = map[string]string{"track_commit_timestamp": "on"}

// mostSlower is how much longer the slowest hundredth of the events of good aggregates may take beside hostile ones than
// without them. The short form has too few events, on a machine busy with other tests, to tell: it only logs them.
const mostSlower = 3

// TestSoakWithHostileHandlers: every kind of fault at random beside handlers that have every kind of trouble with some events,
// and nothing is lost, doubled, out of order or waits for people without a reason; once there is peace, everything that was
// set aside is handled too. Effects are done again only if something happened to their worker. Without -duration this is
// the short form.
func TestSoakWithHostileHandlers(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	f := shortHostileForm
	if *durationFlag > 0 {
		f = longHostileForm
		f.duration, f.pace = *durationFlag, f.pace**paceFlag
	}
	m := newMachine(t, hostileSettings)
	a := newArena(t, f, seed, m, testdb.On(t, m), "")
	o := a.run(newSchedule(seed, f))
	e, err := a.collect(t.Context())
	require.NoError(t, err)
	took, err := a.latencies(t.Context(), o.stretches)
	require.NoError(t, err)
	tried, err := a.hostile.tried()
	require.NoError(t, err)
	v := judge(e)
	r := summarizeHostile(a, o, v, tried, took)
	t.Logf("PostgreSQL %d, seed %d: %d events in %d s, %d faults, %d seconds; %+v; appends that failed: %v", r.Postgres, seed, r.Events,
		r.Seconds, r.faults(), r.Seconds, v, a.record.failures)
	t.Logf("bad tries: %v; latencies: %+v", tried, took)
	if *recordFlag != "" {
		require.NoError(t, hostileTable.publish(*recordFlag, r))
	}
	require.True(t, v.sound(), "PostgreSQL %d, seed %d: %+v", r.Postgres, seed, v)
	o.require(t, a)
	require.Positive(t, took["failing"].Events)
	if *durationFlag > 0 {
		require.LessOrEqual(t, took["failing"].P99, mostSlower*took["calm"].P99, "seed %d: %+v", seed, took)
	}
}
