package rouse_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// inherited appends events of some aggregates for a projection whose owner has died: each of them may be what it died of.
func (b *bundle) inherited(p rouse.Projection, events int) (at []int64) {
	b.t.Helper()
	require.NoError(b.t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
	b.exec("update projection_checkpoints set owner = gen_random_uuid(), epoch = epoch + 1")
	return b.appendAll(slices.Repeat([]string{"slow"}, events)...)
}

// While an operator ends the sessions in which a worker handles, again and again, after its predecessor has died, no event is blamed:
// neither where only these sessions end, nor where all sessions of the worker do.
func TestSessionsThatAreEndedForAWhileBlameNobody(t *testing.T) {
	t.Parallel()
	for name, which := range map[string]string{
		"those of the handler": "state <> 'idle' and query like '%pg_sleep%'",
		"all":                  "application_name = 'flapping'",
	} {
		threeFormsOf(t, name, func(t *testing.T, make func(map[string]string) rouse.Projection) {
			b := setup(t)
			p := make(map[string]string{"slow": "select pg_sleep(0.4)"})
			at := b.inherited(p, 6)
			var log lines
			w := b.start(b.flapping(), rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 3}, Log: zerolog.New(&log)}).WaitStarted()
			tick := time.NewTicker(150 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(6 * time.Second); time.Now().Before(end); <-tick.C {
				b.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and " + which)
			}
			b.waitDone("p", int64(len(at))) // some were set aside for a second
			w.MustStop()
			require.Zero(t, log.count("an event is parked"))
			require.Zero(t, b.int("select count(*) from parked_events"))
			require.Zero(t, b.int("select count(*) from event_attempts"))
			require.ElementsMatch(t, at, b.done("p"))
		})
	}
}

// flapping is a pool whose sessions can be told from the test's.
func (b *bundle) flapping() *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.RuntimeParams["application_name"] = "flapping"
	cfg.MaxConns = 6
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// While the server is short of something when the worker saves, after its predecessor has died, tries are taken back in the table.
func TestTriesThatAnOutageEndsAreTakenBackInTheTable(t *testing.T) {
	t.Parallel()
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		p := make(map[string]string{})
		at := b.inherited(p, 6)
		b.exec("create table short (n int)")
		b.exec("insert into short values (1)")
		b.exec(`create function short() returns trigger language plpgsql as $$ begin
			if exists (select from short) then raise 'the server is short of something' using errcode = '53200'; end if; return new; end $$`)
		b.exec(`create trigger short before update of last_global_position on projection_checkpoints for each row execute function short()`)
		var log lines
		w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 3}, Log: zerolog.New(&log)})
		testdb.Eventually(t, patience, "the worker to be refused, more often than an event is tried", func() (bool, error) { return log.count("warn", "53200") > 6, nil })
		require.LessOrEqual(t, b.int("select coalesce(max(attempts), 0) from event_attempts"), int64(1))
		b.exec("truncate short")
		require.NoError(t, w.Drain(b.ctx))
		require.Zero(t, b.int("select count(*) from parked_events"))
		require.Zero(t, b.int("select count(*) from event_attempts"))
		require.ElementsMatch(t, at, b.done("p"))
		require.Zero(t, log.count("does not answer"), "it does")
	})
}

// An effect whose checkpoint cannot be saved is done again, and no try of it counts.
func TestTriesOfAnEffectThatCannotBeSavedAreTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := &outside{}
	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}}))
	b.exec("update projection_checkpoints set owner = gen_random_uuid(), epoch = epoch + 1")
	b.append("e")
	b.exec(`create function short() returns trigger language plpgsql as $$ begin raise 'short of something' using errcode = '53200'; end $$`)
	b.exec(`create trigger short before update of last_global_position on projection_checkpoints for each row execute function short()`)
	var log lines
	w := b.start(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, Retry: rouse.RetryPolicy{Tries: 3}, Log: zerolog.New(&log)})
	testdb.Eventually(t, patience, "the worker to be refused, more often than an event is tried", func() (bool, error) { return log.count("warn", "53200") > 6, nil })
	b.exec("drop trigger short on projection_checkpoints")
	require.NoError(t, w.Drain(b.ctx))
	require.Zero(t, b.int("select count(*) from parked_events"))
	require.Zero(t, b.int("select count(*) from event_attempts"))
}

// A stop in the middle of tries that nobody's fault has ended leaves none of them behind.
func TestStopTakesBackTriesWithoutAVerdict(t *testing.T) {
	t.Parallel()
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		b.fails()
		var log lines
		w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{make(map[string]string{"bad": "select fails('40001')"})},
			OnFailure: rouse.Stop, Log: zerolog.New(&log)})
		b.append("bad")
		testdb.Eventually(t, patience, "a conflict", func() (bool, error) { return log.count("cannot be handled for now") > 0, nil })
		require.EqualValues(t, 1, b.int("select attempts from event_attempts"), "a try is written down before it is made")
		require.NoError(t, w.Stop())
		require.Zero(t, b.int("select count(*) from event_attempts"))
	})
}

// Savepoints, large objects and statements that are prepared are refused too once the handler has returned.
func TestWhatATransactionGivesOutIsRefusedOnceTheHandlerHasReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("e")
	var kept, savepoint pgx.Tx
	require.NoError(t, b.drain(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{projection{name: "p",
		hook: func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) (err error) {
			kept = tx
			savepoint, err = tx.Begin(ctx)
			return err
		}}}}))
	const after = "after the handler has returned"
	_, err := savepoint.Exec(b.ctx, "insert into done (projection, position) values ('ghost', 1)")
	require.ErrorContains(t, err, after)
	_, err = savepoint.Begin(b.ctx)
	require.ErrorContains(t, err, after)
	require.ErrorContains(t, savepoint.Commit(b.ctx), after)
	require.ErrorContains(t, savepoint.Rollback(b.ctx), after)
	_, err = kept.Prepare(b.ctx, "ghost", "select 1")
	require.ErrorContains(t, err, after)
	objects := kept.LargeObjects()
	_, err = objects.Create(b.ctx, 0)
	require.ErrorIs(t, err, pgx.ErrTxClosed)
	require.Zero(t, b.int("select count(*) from done where projection = 'ghost'"))
}

// A savepoint works as long as the handler does.
func TestHandlerMayUseSavepoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.append("e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p",
		hook: func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
			if err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, doneSQL, "kept", 1); return err }); err != nil {
				return err
			}
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, doneSQL, "undone", 1); err != nil {
					return err
				}
				return errBad
			})
			require.ErrorIs(t, err, errBad)
			return nil
		}}}}))
	require.Equal(t, []int64{at}, b.done("p"))
	require.Len(t, b.done("kept"), 1)
	require.Empty(t, b.done("undone"))
}
