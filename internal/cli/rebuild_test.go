package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/projection"
)

// TestProjectionRebuild: as an operator does it, with the worker that is there.
func TestProjectionRebuild(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const name = "scalable_projection"
	mustRouse(t, db, "append", "--count", "200")
	mustRouse(t, db, "worker", "--once")
	mustExec(t, db.Pool, "update scaling_activity set events = 0")

	// Nobody runs it yet: it is asked for, shown and taken back.
	assert.Regexp(t, "is being rebuilt from position 0 on", mustRouse(t, db, "projection", "rebuild", name, "--detach"))
	assert.Regexp(t, `(?m)^projection scalable_projection@rebuild \(running\), version 1, built beside scalable_projection, 0 %`, mustRouse(t, db, "status"))
	assert.Equal(t, "the rebuild of scalable_projection is cancelled, and what it has built is removed\n", mustRouse(t, db, "projection", "rebuild", name, "--cancel"))

	startRouse(t, on(db), "worker")
	assert.Regexp(t, "^scalable_projection is rebuilt: 200 positions in ", mustRouse(t, db, "projection", "rebuild", name))
	mustRouse(t, db, "append", "--count", "100")
	testdb.Eventually(t, processTimeout, "the worker to go on", func() (bool, error) {
		return value[int](t, db.Pool, "select sum(events)::int from scaling_activity") == 300, nil
	})
	requireComplete(t, db, 300)
	done := decode[built](t, mustRouse(t, db, "projection", "rebuild", name, "--json"))
	assert.Equal(t, built{Projection: name, Build: name + "@rebuild", Version: 1, At: done.At, Head: 300}, done)
	requireComplete(t, db, 300)
}

func TestProjectionRebuildAndPromoteRefuse(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "10")
	mustRouse(t, db, "worker", "--once")
	projection := func(args ...string) result {
		return runRouse(t, on(db), append([]string{"projection"}, args...)...)
	}
	const name = "scalable_projection"
	requireFault(t, projection("rebuild"), exitUsage, "accepts 1 arg")
	requireFault(t, projection("rebuild", "other"), exitUsage, "rouse: there is no such projection: other (rouse projection list shows those that there are)")
	requireFault(t, projection("rebuild", name, "--from", "11"), exitUsage, "the position cannot be used: nothing can begin there: position 11 is not from 0 to that of the last event, 10")
	requireFault(t, projection("rebuild", name, "--from", "-1"), exitUsage, "-1")
	requireFault(t, projection("rebuild", name, "--from", "now"), exitUsage, "a rebuild from now builds nothing")
	requireFault(t, projection("rebuild", name, "--cancel", "--detach"), exitUsage, "--cancel goes with neither")
	requireFault(t, projection("rebuild", name, "--cancel"), exitUsage, "rouse: there is nothing of that name beside the projection: scalable_projection@rebuild")
	requireFault(t, projection("promote", "other"), exitUsage, "there is no such projection")
	requireFault(t, projection("promote", name), exitUsage, "no other version of scalable_projection is built or kept (start a worker that has one)")
	requireFault(t, projection("promote", name, "--version", "1"), exitOther, "version 1 of scalable_projection is live already")
	requireFault(t, projection("promote", name, "--version", "2"), exitUsage, "version 2 of scalable_projection (start a worker that has it)")
	requireFault(t, projection("drop", name+"@2"), exitUsage, "rouse: there is nothing of that name beside the projection: scalable_projection@2")

	// Nobody builds it, so a command that waited for it would never end.
	assert.Regexp(t, "^"+name+" is being rebuilt from position 5 on, ", mustRouse(t, db, "projection", "rebuild", name, "--from", "5", "--detach"))
	refused := projection("drop", name)
	requireFault(t, refused, exitOther, "there is something beside the projection (drop that first): "+name+"@rebuild (rouse projection drop "+name+"@rebuild)")
	assert.NotContains(t, refused.stderr, "--force", "which does not help")
	mustRouse(t, db, "projection", "drop", name+"@rebuild")

	mustExec(t, db.Pool, "create view seen as select * from scaling_activity")
	startRouse(t, on(db), "worker")
	requireFault(t, projection("rebuild", name), exitOther, "its tables cannot be replaced by others: view seen depends on it")
	assert.Equal(t, 1, value[int](t, db.Pool, "select count(*)::int from projections"), "nothing is left of it")
}

func TestARebuildTakesThePlaceOnlyOnceItIsThere(t *testing.T) {
	t.Parallel()
	p := progress{since: time.Now().Add(-time.Second), first: projection.Build{At: 1000}}
	assert.Contains(t, p.remains(projection.Build{At: 5000, Head: 12000, Near: true}), " left")
	assert.Equal(t, "taking the place", p.remains(projection.Build{At: 12000, Head: 12000, Near: true}))
}
