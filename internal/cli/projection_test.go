package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestProjectionResize: as an operator does it, with the worker that is there and with none.
func TestProjectionResize(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const name = "scalable_projection"
	assert.Equal(t, []listedProjection{}, decode[[]listedProjection](t, mustRouse(t, db, "projection", "list", "--json")))
	mustRouse(t, db, "append", "--count", "200")
	mustRouse(t, db, "worker", "--once")
	list := mustRouse(t, db, "projection", "list")
	assert.Regexp(t, `(?m)^PROJECTION +PARTITIONS +UNOWNED +STATE +LAG +LAG TIME +TROUBLE$`, list)
	assert.Regexp(t, `(?m)^scalable_projection +32 +32 +running +0 +0 s *$`, list)

	assert.Equal(t, "scalable_projection had 32 partitions and has 64 now (workers that set --partitions, ROUSE_PARTITIONS or Config.Partitions must say 64 or leave it at 0)\n",
		mustRouse(t, db, "projection", "resize", name, "--partitions", "64"))
	assert.Contains(t, mustRouse(t, db, "projection", "resize", name, "--partitions", "64"), "has 64 partitions already, nothing to do")

	startRouse(t, on(db), "worker")
	requireOwned := func(partitions int) {
		t.Helper()
		testdb.Eventually(t, processTimeout, "the worker to own all partitions", func() (bool, error) {
			listed := decode[[]listedProjection](t, mustRouse(t, db, "projection", "list", "--json"))
			return len(listed) == 1 && listed[0].Partitions == partitions && listed[0].Unowned == 0 && listed[0].LagEvents == 0, nil
		})
	}
	requireOwned(64)
	done := decode[resized](t, mustRouse(t, db, "projection", "resize", name, "--partitions", "2", "--json"))
	assert.Equal(t, resized{Projection: name, From: 64, To: 2}, done)
	mustRouse(t, db, "append", "--count", "100")
	requireOwned(2)
	requireComplete(t, db, 300)
}

func TestProjectionResizeRefuses(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "10")
	mustRouse(t, db, "worker", "--once")
	resize := func(args ...string) result {
		return runRouse(t, on(db), append([]string{"projection", "resize"}, args...)...)
	}
	const name = "scalable_projection"
	requireFault(t, resize(name), exitUsage, `"partitions" not set`)
	requireFault(t, resize("--partitions", "8"), exitUsage, "accepts 1 arg")
	requireFault(t, resize(name, "--partitions", "48"), exitUsage, "a power of two from 1 to 1024, and 48 is not")
	requireFault(t, resize(name, "--partitions", "0"), exitUsage, "and 0 is not")
	requireFault(t, resize(name, "--partitions", "8", "--timeout", "0s"), exitUsage, "--timeout")
	requireFault(t, resize("other", "--partitions", "8"), exitUsage, "there is no such projection: other (rouse projection list shows those that there are)")

	mustExec(t, db.Pool, "update projection_checkpoints set last_global_position = 5 where partition = 0")
	requireFault(t, resize(name, "--partitions", "8"), exitOther, "no worker runs to bring them together (start one, then try again)")
	assert.Equal(t, 32, value[int](t, db.Pool, "select count(*)::int from projection_checkpoints"), "nothing has changed")

	r := runRouse(t, nil, "projection")
	require.Zero(t, r.code)
	assert.Contains(t, r.stdout, "resize")
}

// TestProjectionIsSteered: paused, resumed, started over, and led past an event, all with the worker running.
func TestProjectionIsSteered(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const name = "scalable_projection"
	mustRouse(t, db, "append", "--count", "100")
	startRouse(t, on(db), "worker")
	counted := func(want int) {
		t.Helper()
		testdb.Eventually(t, processTimeout, "the events to be counted", func() (bool, error) {
			if value[int](t, db.Pool, "select count(*)::int from pg_tables where tablename = 'scaling_activity'") == 0 {
				return false, nil
			}
			return value[int](t, db.Pool, "select coalesce(sum(events), 0)::int from scaling_activity") == want, nil
		})
	}
	counted(100)
	assert.Contains(t, mustRouse(t, db, "projection", "pause", name), "is paused")
	mustRouse(t, db, "append", "--count", "50")
	testdb.Eventually(t, processTimeout, "the worker to say that it is paused", func() (bool, error) {
		return value[int](t, db.Pool, "select count(*)::int from projection_workers where states ->> '"+name+"' = 'paused'") == 1, nil
	})
	counted(100)
	assert.Contains(t, mustRouse(t, db, "projection", "list"), "paused")
	mustRouse(t, db, "projection", "resume", name)
	counted(150)

	assert.Contains(t, mustRouse(t, db, "projection", "reset", name, "--to", "0"), "has started over behind position 0")
	counted(150)
	requireComplete(t, db, 150)

	for _, wrong := range [][]string{{"pause", "other"}, {"resume", "other"}, {"reset", "other", "--to", "0"}, {"skip", "other", "--position", "1"}} {
		requireFault(t, runRouse(t, on(db), append([]string{"projection"}, wrong...)...), exitUsage, "there is no such projection: other")
	}
	requireFault(t, runRouse(t, on(db), "projection", "reset", name, "--to", "soon"), exitUsage, "none of beginning, now, a position, and a time such as")
	requireFault(t, runRouse(t, on(db), "projection", "reset", name, "--to", "100000"), exitUsage, "position 100000 is not from 0 to that of the last event, 150")
	requireFault(t, runRouse(t, on(db), "projection", "skip", name, "--position", "3"), exitUsage, "no event at 3 that scalable_projection has still before it")
}

// A reset that was not done is no success, whatever kept it.
func TestProjectionResetThatIsNotDoneFails(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const name = "scalable_projection"
	mustRouse(t, db, "append", "--count", "10")
	mustRouse(t, db, "worker", "--once")
	reset := func(args ...string) result {
		return runRouse(t, on(db), append([]string{"projection", "reset", name, "--to", "0"}, args...)...)
	}
	requireFault(t, reset("--wait", "100ms"), exitOther, "has not started over within 100ms, and does once a worker runs it")
	assert.Contains(t, mustRouse(t, db, "projection", "reset", name, "--to", "0", "--wait", "0"), "will start over behind position 0 as soon as a worker runs it")
	assert.Contains(t, mustRouse(t, db, "status"), "is to start over behind position 0, tried 0 times: no worker has tried it yet")

	// As soon as it is asked for, another one takes it back, asks for another position, or tries and fails.
	for meddle, says := range map[string]string{
		"reset_to = null": "is not started over: the request was taken back before a worker did it",
		"reset_to = 5":    "somebody has asked for position 5 since",
		"reset_error = 'no truck', reset_tries = 3": "its workers go on trying. What they met in try 3: no truck",
	} {
		mustExec(t, db.Pool, "update projections set reset_to = null, reset_error = null")
		meddled := make(chan error, 1)
		go func() {
			for {
				tag, err := db.Pool.Exec(t.Context(), "update projections set "+meddle+" where reset_to = 0")
				if err != nil || tag.RowsAffected() > 0 {
					meddled <- err
					return
				}
				<-time.After(time.Millisecond)
			}
		}()
		requireFault(t, reset("--wait", "3s"), exitOther, says)
		require.NoError(t, <-meddled)
	}
}

func TestProjectionListSaysWhenANameWasRetired(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "projection", "create", "orders", "--from", "now")
	mustRouse(t, db, "projection", "rename", "orders", "sales")
	at := value[time.Time](t, db.Pool, "select retired_at from retired_projections")
	listed := decode[[]map[string]any](t, mustRouse(t, db, "projection", "list", "--all", "--json"))
	require.Len(t, listed, 2)
	assert.NotContains(t, listed[0], "retired_at", "it is there")
	assert.Equal(t, "sales", listed[1]["renamed_to"])
	assert.Equal(t, at.UTC().Format(time.RFC3339Nano), listed[1]["retired_at"])
}
