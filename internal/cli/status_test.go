package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestStatusOfASchemaWithoutATable: it says which, as a fault of the schema.
func TestStatusOfASchemaWithoutATable(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustExec(t, db.Pool, "alter table parked_events rename to elsewhere")
	requireFault(t, runRouse(t, on(db), "status"), exitSchema, "parked_events", "not complete", "rouse migrate --print")
}

// TestStatusTellsInstancesApart by the digits that differ: ids begin with the time.
func TestStatusTellsInstancesApart(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for label, digits := range map[string]string{"a": "aaaaaaaa", "b": "bbbbbbbb"} {
		mustExec(t, db.Pool, `insert into projection_workers (instance_id, label, assignment, host, pid, mode, lease_ttl_ms)
			values (('01234567-0000-7000-8000-0000' || $2)::uuid, $1, 'elastic', 'h', 1, 'quiet', 3600000)`, label, digits)
	}
	status := mustRouse(t, db, "status")
	require.Regexp(t, `(?m)^a +aaaaaaaa `, status)
	require.Regexp(t, `(?m)^b +bbbbbbbb `, status)
}

// TestAPausedProjectionIsPausedAndNotUnowned: nobody is missed.
func TestAPausedProjectionIsPausedAndNotUnowned(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once", "--partitions", "4")
	require.Regexp(t, `(?m)^  0-3 .* unowned +\d+ +unowned$`, mustRouse(t, db, "status"))
	mustRouse(t, db, "projection", "pause", "scalable_projection")
	status := mustRouse(t, db, "status")
	require.Regexp(t, `(?m)^  0-3 .* nobody +\d+ +paused$`, status)
	require.NotContains(t, status, "unowned")
	require.Regexp(t, `unowned`, mustRouse(t, db, "status", "--json"), "the number is there for programs")
}
