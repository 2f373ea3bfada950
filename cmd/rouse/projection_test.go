package main

import (
	"testing"

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
	assert.Regexp(t, `(?m)^PROJECTION +PARTITIONS +UNOWNED +STATE +LAG +LAG TIME$`, list)
	assert.Regexp(t, `(?m)^scalable_projection +32 +32 +running +0 +0 s$`, list)

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
