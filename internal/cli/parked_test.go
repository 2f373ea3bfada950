package cli

import (
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
)

// refused makes a database in which the built-in projection cannot handle the events of one aggregate, user/bad.
func refused(t *testing.T) *testdb.DB {
	t.Helper()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once") // creates the table
	mustExec(t, db.Pool, "alter table scaling_activity add constraint nobody_bad check (aggregate_id <> 'bad')")
	for _, id := range []string{"bad", "good"} {
		versions(t, db, id, 1, 3)
	}
	return db
}

func versions(t *testing.T, db *testdb.DB, id string, from, to int) {
	t.Helper()
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'user', $1::text, n, 'UserRegistered', '{"name": "s3cret"}' from generate_series($2::int, $3::int) n`, id, from, to)
}

// handled is how many events of an aggregate the built-in projection has counted.
func handled(t *testing.T, db *testdb.DB, id string) int {
	t.Helper()
	return value[int](t, db.Pool, "select coalesce(sum(events), 0)::int from scaling_activity where aggregate_id = $1", id)
}

func parkedCount(t *testing.T, db *testdb.DB) int {
	t.Helper()
	return value[int](t, db.Pool, "select count(*) from parked_events")
}

func TestParkedEventsAreListedShownAndRetried(t *testing.T) {
	t.Parallel()
	db := refused(t)
	assert.Contains(t, mustRouse(t, db, "parked", "list"), "no event is parked")
	worker := startRouse(t, on(db), "worker", "--retries", "1")
	testdb.Eventually(t, processTimeout, "the last try", func() (bool, error) {
		return value[int](t, db.Pool, "select count(*) from parked_events where attempts = 2 and due_at is null") == 1, nil
	})
	worker.Signal(t, syscall.SIGTERM)
	require.Zero(t, worker.Wait(t))
	require.Equal(t, 3, handled(t, db, "good"))

	p := status(t, db).Projections[0].Parked
	assert.EqualValues(t, 3, p.Events)
	assert.EqualValues(t, 1, p.Aggregates)
	assert.NotNil(t, p.OldestAgeSeconds)
	assert.Contains(t, mustRouse(t, db, "status"), "3 parked events of 1 aggregate, ")

	list := decode[[]parkedEvent](t, mustRouse(t, db, "parked", "list", "--aggregate", "user/bad", "--json"))
	require.Len(t, list, 3)
	assert.Equal(t, scaling.Name, list[0].Projection)
	assert.EqualValues(t, []int64{1, 2, 3}, []int64{list[0].Version, list[1].Version, list[2].Version})
	assert.Equal(t, 2, list[0].Attempts, "the first try and one more")
	assert.Contains(t, list[0].Error, "nobody_bad")
	assert.Zero(t, list[1].Attempts)
	table := mustRouse(t, db, "parked", "list", "--limit", "2")
	assert.Regexp(t, `(?m)^PROJECTION +POSITION +AGGREGATE .*\n`+scaling.Name+` +\d+ +user/bad +1 +UserRegistered +parked +2 .*\.\.\.$`, table)
	assert.Contains(t, table, "and more")
	for _, none := range [][]string{{"--aggregate", "user/good"}, {"--aggregate-type", "order"}, {"--event-type", "Other"}, {"--error", "nobody_good"}, {"--since", "1ms"}} {
		assert.Contains(t, mustRouse(t, db, append([]string{"parked", "list"}, none...)...), "no event is parked")
	}
	assert.Contains(t, mustRouse(t, db, "parked", "list", "--error", "nobody_bad", "--aggregate-type", "user", "--event-type", "UserRegistered", "--since", "1h"), "user/bad")

	first := strconv.FormatInt(list[0].Position, 10)
	one := mustRouse(t, db, "parked", "show", "--position", first)
	assert.Contains(t, one, list[0].Error)
	assert.NotContains(t, one, "s3cret")
	one = mustRouse(t, db, "parked", "show", "--position", first, "--payload", "--json")
	assert.Contains(t, string(decode[parkedEvent](t, one).Payload), "s3cret")

	assert.Contains(t, mustRouse(t, db, "parked", "retry", "--all"), "3 events to be handled again\nno living worker runs "+scaling.Name)
	assert.Contains(t, mustRouse(t, db, "status"), "3 retrying events of 1 aggregate, ")
	assert.Equal(t, "retrying", decode[[]parkedEvent](t, mustRouse(t, db, "parked", "list", "--json"))[0].State)
	assert.Regexp(t, `(?m)^PROJECTION +POSITION +AGGREGATE +EVENTS .*\n`+scaling.Name+` +`+first+` +user/bad +3 +UserRegistered +retrying +2 .* now `, mustRouse(t, db, "parked", "list", "--by-aggregate"))
	r := runRouse(t, on(db), "parked", "retry", "--all", "--wait", "100ms")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "3 events not handled yet after 100ms")

	worker = startRouse(t, on(db), "worker", "--retries", "0")
	retry := []string{"parked", "retry", "--projection", scaling.Name, "--wait", processTimeout.String()}
	r = runRouse(t, on(db), retry...)
	assert.Equal(t, 5, r.code)
	assert.Contains(t, r.stdout, "0 handled, 3 failed again")
	assert.Contains(t, r.stderr, "rouse: parked events failed again")
	mustExec(t, db.Pool, "alter table scaling_activity drop constraint nobody_bad")
	r = runRouse(t, on(db), append(retry, "--json")...)
	require.Zero(t, r.code, r.stderr)
	assert.Equal(t, retried{Asked: 3, Handled: 3, WithoutWorker: []string{}}, decode[retried](t, r.stdout))
	assert.Contains(t, mustRouse(t, db, "parked", "retry", "--all"), "no such event is parked")
	worker.Signal(t, syscall.SIGTERM)
	require.Zero(t, worker.Wait(t))
	requireComplete(t, db, 6)
}

func TestDiscardedEventsAreGoneAndThoseBehindAreHandled(t *testing.T) {
	t.Parallel()
	db := refused(t)
	mustRouse(t, db, "worker", "--once", "--retries", "0")
	require.Equal(t, 3, parkedCount(t, db))
	mustExec(t, db.Pool, "alter table scaling_activity drop constraint nobody_bad")
	first := value[int64](t, db.Pool, "select min(global_position) from parked_events")
	assert.Contains(t, mustRouse(t, db, "parked", "discard", "--position", strconv.FormatInt(first, 10)), "1 event discarded")
	worker := startRouse(t, on(db), "worker")
	testdb.Eventually(t, processTimeout, "those behind it to be handled", func() (bool, error) { return parkedCount(t, db) == 0, nil })
	assert.Equal(t, 2, handled(t, db, "bad"))
	worker.Signal(t, syscall.SIGTERM)
	require.Zero(t, worker.Wait(t))

	mustExec(t, db.Pool, "alter table scaling_activity add constraint nobody_worse check (aggregate_id <> 'worse')")
	versions(t, db, "worse", 1, 4)
	mustRouse(t, db, "worker", "--once", "--retries", "0")
	requireFault(t, runRouse(t, on(db), "parked", "discard", "--all"), exitUsage, "all projections", "--yes")
	requireFault(t, runRouse(t, on(db), "parked", "discard", "--projection", scaling.Name), exitUsage, scaling.Name, "--yes")
	require.Equal(t, 4, parkedCount(t, db))
	assert.EqualValues(t, 4, decode[discarded](t, mustRouse(t, db, "parked", "discard", "--all", "--yes", "--json")).Discarded)
	require.Zero(t, parkedCount(t, db))
}

func TestWhatBecomesOfAnEventThatFails(t *testing.T) {
	t.Parallel()
	db := refused(t)
	stop := runRouse(t, append(on(db), "ROUSE_ON_FAILURE=stop", "ROUSE_RETRIES=0"), "worker", "--once")
	requireFault(t, stop, 5, "user", "bad", "nobody_bad")
	require.Zero(t, parkedCount(t, db))
	mustRouse(t, db, "worker", "--once", "--on-failure", "skip", "--retries", "0")
	assert.Zero(t, parkedCount(t, db))
	assert.Zero(t, handled(t, db, "bad"))
	assert.Equal(t, 3, handled(t, db, "good"))
}

func TestMisusedParkedCommands(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for _, tc := range []struct {
		args  []string
		holds string
	}{
		{[]string{"worker", "--on-failure", "panic"}, `"panic"`},
		{[]string{"parked", "list", "--aggregate", "user"}, "TYPE/ID"},
		{[]string{"parked", "list", "--position", "-1"}, "begin at 1"},
		{[]string{"parked", "list", "--limit", "-1"}, "negative"},
		{[]string{"parked", "list", "--since", "-1h"}, "negative"},
		{[]string{"parked", "list", "--aggregate", "user/a", "--aggregate-type", "user"}, "--aggregate-type"},
		{[]string{"parked", "retry", "--all", "--error", "x"}, "--all"},
		{[]string{"parked", "show"}, "--position"},
		{[]string{"parked", "retry"}, "--all"},
		{[]string{"parked", "retry", "--all", "--projection", "p"}, "--all"},
		{[]string{"parked", "discard"}, "--all"},
	} {
		requireFault(t, runRouse(t, on(db), tc.args...), exitUsage, tc.holds)
	}
	requireFault(t, runRouse(t, on(db), "parked", "show", "--position", "7"), 1, "no such event", "rouse parked list")
	requireFault(t, runRouse(t, on(testdb.Empty(t)), "parked", "list"), 4, "rouse migrate")
}
