package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/retention"
)

// handledLog is a database with 100 events, of 10 aggregates, that the built-in projection has handled.
func handledLog(t *testing.T) *testdb.DB {
	t.Helper()
	db := testdb.New(t)
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'user', 'u' || s, v, 'UserRegistered', '{"name": "s3cret"}' from generate_series(1, 10) v, generate_series(1, 10) s order by v, s`)
	mustRouse(t, db, "worker", "--once")
	return db
}

func events(t *testing.T, db *testdb.DB) int {
	t.Helper()
	return value[int](t, db.Pool, "select count(*) from events")
}

func TestPruneSaysWhatItWouldDoAndDoesItWithYes(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	assert.Contains(t, mustRouse(t, db, "prune", "--older-than", "30d", "--to", dir), "there is nothing to archive")
	said := mustRouse(t, db, "prune", "--older-than", "0", "--to", dir)
	assert.Contains(t, said, "would archive 99 events, from position 1 to 99, and remove them from the log (say --yes to have it done)")
	assert.Contains(t, said, "nothing behind position 99 goes: the last event of the log stays")
	require.Equal(t, 100, events(t, db))
	said = mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--yes")
	assert.Contains(t, said, filepath.Join(dir, "events-1-99.ndjson.zst")+" holds positions 1 to 99, 99 events")
	assert.Contains(t, said, "removed 90 events from the log")
	require.Equal(t, 10, events(t, db))
	assert.Zero(t, status(t, db).Projections[0].LagEvents)
	mustRouse(t, db, "doctor")

	assert.Equal(t, "1 archive, 99 events, as they were written\n", mustRouse(t, db, "archive", "verify", dir))
	assert.Equal(t, "put back 90 events of 1 archive\n", mustRouse(t, db, "archive", "restore", dir))
	require.Equal(t, 100, events(t, db))
	plan := decode[retention.Plan](t, mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--json"))
	require.Len(t, plan.Unfinished, 1)
	pruned := decode[retention.Pruned](t, mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--json", "--yes"))
	require.EqualValues(t, 90, pruned.Removed)

	path := filepath.Join(dir, "events-1-99.ndjson.zst")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o600))
	r := runRouse(t, on(db), "archive", "verify", dir)
	require.Equal(t, exitFindings, r.code)
	require.Contains(t, r.stdout, "FAIL ")
	requireFault(t, runRouse(t, on(db), "archive", "restore", dir), exitOther, "events-1-99.ndjson.zst", "with the content that was archived")
	requireFault(t, runRouse(t, on(db), "projection", "reset", "scalable_projection", "--to", "0"), exitSchema, "events up to position 99", dir, "rouse archive restore")
}

func TestPruneNamesWhoHoldsEvents(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	mustExec(t, db.Pool, "update projection_checkpoints set last_global_position = 40 where partition = 3")
	mustRouse(t, db, "projection", "pause", "scalable_projection")
	assert.Contains(t, mustRouse(t, db, "prune", "--older-than", "0", "--to", dir),
		"nothing behind position 40 goes: scalable_projection is paused there (let it go on, or give it up with --ignore scalable_projection)")
	mustExec(t, db.Pool, `insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type)
		select 'scalable_projection', global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type from events where global_position = 20`)
	assert.Contains(t, mustRouse(t, db, "prune", "--older-than", "0", "--to", dir), "nothing behind position 19 goes: scalable_projection has an event parked there")
	for _, args := range [][]string{
		{"--older-than", "x", "--to", dir}, {"--older-than", "-1h", "--to", dir}, {"--older-than", "0", "--to", filepath.Join(dir, "none")}, {"--older-than", "0"},
		{"--older-than", "0", "--to", "-", "--json"}, {"--older-than", "0", "--to", dir, "--batch", "0"}, {"--older-than", "0", "--to", dir, "--ignore", "who"},
	} {
		require.Equal(t, exitUsage, runRouse(t, on(db), append([]string{"prune"}, args...)...).code, args)
	}
}

func TestPruneGivesStandardOutputAnArchiveAndNothingElse(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	r := runRouse(t, on(db), "prune", "--older-than", "0", "--to", "-", "--yes")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "removed 90 events")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "events-1-99.ndjson.zst"), []byte(r.stdout), 0o600))
	require.Contains(t, mustRouse(t, db, "archive", "verify", dir), "1 archive, 99 events")
	mustRouse(t, db, "archive", "restore", dir)
	require.Equal(t, 100, events(t, db))
}

// A process is killed at each step behind which something stands: when the file is noted and nothing is removed, and in the middle of the
// removal. The next one goes on, nothing is lost, and no range is archived twice.
func TestPruneThatIsKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"between file and removal": "select from rouse_retention for share",
		"between two batches":      "select from events where global_position = 57 for update",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, dir := handledLog(t), t.TempDir()
			before := value[string](t, db.Pool, "select string_agg(e::text, '|' order by global_position) from events e")
			ctx := context.WithoutCancel(t.Context())
			tx, err := db.Pool.Begin(ctx)
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(ctx) }()
			_, err = tx.Exec(ctx, lock)
			require.NoError(t, err)
			p := startRouse(t, on(db), "prune", "--older-than", "0", "--to", dir, "--batch", "10", "--file-events", "75", "--yes")
			testdb.Eventually(t, processTimeout, "prune to wait", func() (bool, error) {
				return value[bool](t, db.Pool, `select exists (select from pg_stat_activity
					where datname = current_database() and application_name = 'rouse prune' and wait_event_type = 'Lock')`), nil
			})
			p.Signal(t, os.Kill)
			require.NotZero(t, p.Wait(t))
			require.NoError(t, tx.Rollback(ctx))
			testdb.Eventually(t, processTimeout, "its session to end", func() (bool, error) {
				return value[bool](t, db.Pool, `select not exists (select from pg_stat_activity where datname = current_database() and application_name = 'rouse prune')`), nil
			})
			if strings.Contains(lock, "events") {
				require.EqualValues(t, 50, value[int](t, db.Pool, "select whole_from from rouse_retention"))
				mustExec(t, db.Pool, "insert into projections (projection_name, partitions) values ('new', 1)")
				_, err := db.Pool.Exec(ctx, "insert into projection_checkpoints (projection_name, partition) values ('new', 0)")
				require.ErrorContains(t, err, "the log lacks events up to position 50")
			} else {
				require.Equal(t, 100, events(t, db))
				// As if it had been killed before the file had its name.
				require.NoError(t, os.Rename(filepath.Join(dir, "events-1-75.ndjson.zst"), filepath.Join(dir, ".events-1-75.ndjson.zst.abcd.tmp")))
			}
			mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--yes")
			require.Equal(t, 10, events(t, db))
			require.Contains(t, mustRouse(t, db, "archive", "verify", dir), "2 archives, 99 events")
			mustRouse(t, db, "archive", "restore", dir)
			require.Equal(t, before, value[string](t, db.Pool, "select string_agg(e::text, '|' order by global_position) from events e"))
		})
	}
}

func TestEraseAsksForYesAndNamesWhatStillHoldsIt(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--yes")
	aggregate := value[string](t, db.Pool, "select aggregate_type || '/' || aggregate_id from events limit 1")
	requireFault(t, runRouse(t, on(db), "erase", "--aggregate", aggregate), exitUsage, "say --yes")
	requireFault(t, runRouse(t, on(db), "erase", "--aggregate", "no/body", "--yes"), exitUsage, "no such aggregate")
	requireFault(t, runRouse(t, on(db), "erase", "--aggregate", aggregate, "--replace", "{", "--yes"), exitUsage, "no JSON")
	said := mustRouse(t, db, "erase", "--aggregate", aggregate, "--yes")
	require.Contains(t, said, "1 event without what was in them")
	require.Contains(t, said, "those of scalable_projection")
	require.Contains(t, said, "events-1-99.ndjson.zst may still hold them")
	said = mustRouse(t, db, "erase", "--aggregate", aggregate, "--delete", "--archives", dir, "--yes")
	require.Contains(t, said, "events-1-99.ndjson.zst is written anew without them")
	mustRouse(t, db, "archive", "verify", dir)
}

func TestNothingBeginsWhereEventsHaveLeft(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	mustRouse(t, db, "prune", "--older-than", "0", "--to", dir, "--yes")
	for _, verb := range [][]string{{"create", "other", "--from", "beginning"}, {"reset", "scalable_projection", "--to", "beginning"}, {"rebuild", "scalable_projection"}} {
		refused := runRouse(t, on(db), append([]string{"projection"}, verb...)...)
		requireFault(t, refused, exitSchema, "the log lacks events up to position 99", dir+" (put them back with rouse archive restore, or begin behind position 99)")
		assert.NotContains(t, refused.stderr, "SQLSTATE")
	}
}

func TestAListInJSONIsNeverNull(t *testing.T) {
	t.Parallel()
	db, dir := handledLog(t), t.TempDir()
	for _, verb := range [][]string{{"archive", "restore", dir}, {"archive", "verify", dir}, {"prune", "--older-than", "30d", "--to", dir}, {"prune", "--older-than", "30d", "--to", dir, "--yes"}} {
		assert.NotContains(t, mustRouse(t, db, append(verb, "--json")...), "null", verb)
	}
}
