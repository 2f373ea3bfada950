package rouse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// These tests are what users, neighbours and enemies do to the database of a worker. Whatever it is, no event is lost.

// An appender forges the note that says that it holds K, to hide its own events from every projection.
func TestForgedNoteHidesNoEvent(t *testing.T) {
	t.Parallel()
	for _, forged := range []string{"pg_current_xact_id()::text", "'99999999'", "'2'", "'-5'", "'x'", "''", "repeat('9', 30)"} {
		t.Run(forged, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append("before")
			w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
			require.NoError(t, w.Drain(b.ctx)) // it is awake when the forger comes
			tx, err := b.Conn(t).Begin(b.ctx)
			require.NoError(t, err)
			_, err = tx.Exec(b.ctx, "select set_config('rouse.lw_' || 'events'::regclass::oid, "+forged+", true)")
			require.NoError(t, err)
			var hidden int64
			require.NoError(t, tx.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				values ('account', 'mallory', 1, 'MoneyWithdrawn', '{}') returning global_position`).Scan(&hidden))
			b.appendAll("after", "after", "after")
			require.Never(t, func() bool { return len(b.done("p")) > 1 }, time.Second, 50*time.Millisecond, "what is above the open append must wait")
			require.NoError(t, tx.Commit(b.ctx))
			require.NoError(t, w.Drain(b.ctx))
			require.Equal(t, []int64{1, 2, 3, 4, 5}, b.done("p"))
			require.EqualValues(t, 2, hidden)
		})
	}
}

// A transaction of many statements holds one lock, whatever it forges between them.
func TestManyStatementsHoldOneLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("before")
	tx, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(b.ctx, `do $$ begin for n in 1..5000 loop
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'a', n, 'e', '{}');
	end loop; end $$`)
	require.NoError(t, err)
	var locks int
	require.NoError(t, tx.QueryRow(b.ctx, "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()").Scan(&locks))
	require.Equal(t, 1, locks)
	require.NoError(t, tx.Rollback(b.ctx))
}

// A cursor that fails inside a savepoint takes K with it; the next statement of the transaction holds it again.
func TestLockThatACursorLosesIsTakenAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("before")
	b.exec(`create function app(i int) returns int language plpgsql as $$ begin
		if i = 3 then raise 'no'; end if;
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'cursor', i, 'e', '{}');
		return i; end $$`)
	conn := b.Conn(t)
	for _, sql := range []string{"begin", "declare c cursor for select app(i) from generate_series(1, 5) i", "fetch 1 from c", "savepoint s"} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	_, err := conn.Exec(b.ctx, "fetch 5 from c")
	require.Error(t, err)
	for _, sql := range []string{"rollback to s",
		"insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'later', 1, 'e', '{}')"} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	b.append("above")
	require.Never(t, func() bool { return len(b.done("p")) > 1 }, time.Second, 50*time.Millisecond, "the transaction holds the horizon again")
	_, err = conn.Exec(b.ctx, "commit")
	require.NoError(t, err)
	require.NoError(t, w.Drain(b.ctx))
	require.EqualValues(t, b.int("select count(*) from events"), len(b.done("p")))
}

// mallory is a session that has no rights but CONNECT.
func (b *bundle) mallory() *pgx.Conn {
	b.t.Helper()
	name := b.Name + "_mallory"
	b.exec("create role " + name + " login")
	conn := b.Conn(b.t)
	_, err := conn.Exec(b.ctx, "set session authorization "+name)
	require.NoError(b.t, err)
	b.t.Cleanup(func() {
		_ = conn.Close(context.Background())
		b.exec("drop role " + name)
	})
	return conn
}

// A stranger holds every key that the next appends would take. They take lower ones and do not wait.
func TestStrangerThatLocksKKeepsNobodyFromAppending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("before")
	_, err := b.mallory().Exec(b.ctx, `select count(pg_advisory_lock((($1::bigint & 16777215) << 40) | n)) from generate_series(0, 2000) n`,
		b.int("select 'events'::regclass::oid::bigint"))
	require.NoError(t, err)
	conn := b.Conn(t)
	_, err = conn.Exec(b.ctx, "set lock_timeout = '1ms'")
	require.NoError(t, err)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	for i := range 5 {
		_, err = conn.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'a', $1, 'e', '{}')`, i+1)
		require.NoError(t, err)
	}
	require.NoError(t, w.Drain(b.ctx))
	require.Len(t, b.done("p"), 6)
}

// A stranger holds the presence key of a worker. Its batches do not wait for it, and no event is blamed.
func TestStrangerThatLocksThePresenceKeyStopsNoBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.append("before")
	require.NoError(t, w.Drain(b.ctx))
	_, err := b.mallory().Exec(b.ctx, `select pg_advisory_lock(1919907159, objid::int) from pg_locks
		where locktype = 'advisory' and classid = 1919907152 and objsubid = 2 and database = (select oid from pg_database where datname = current_database())`)
	require.NoError(t, err)
	for range 20 {
		b.append("e")
	}
	require.NoError(t, w.Drain(b.ctx))
	require.Len(t, b.done("p"), 21)
	require.Zero(t, b.int("select count(*) from event_attempts"))
}

// A stranger waits for S alone, which makes every question of the appends fail. In doubt they notify.
func TestStrangerThatWaitsForSDoesNotTurnThePushOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	woken := make(chan string, 100)
	observer := rouse.Observer{Woke: func(source string) {
		select {
		case woken <- source:
		default:
		}
	}}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Observer: observer})
	testdb.Eventually(t, patience, "the worker to sleep", func() (bool, error) { return w.Status().Mode == "quiet" && w.Status().Listening, nil })
	mallory := b.mallory()
	oid := b.int("select 'events'::regclass::oid::bigint")
	waiting := make(chan error, 1)
	go func() {
		_, err := mallory.Exec(b.ctx, "select pg_advisory_lock(1919907155, $1::int)", int32(oid))
		waiting <- err
	}()
	testdb.Eventually(t, patience, "the stranger to wait", func() (bool, error) {
		return b.int("select count(*) from pg_locks where locktype = 'advisory' and classid = 1919907155 and objid = 'events'::regclass and not granted") == 1, nil
	})
	for len(woken) > 0 {
		<-woken
	}
	var appended time.Time
	testdb.Eventually(t, patience, "a push", func() (bool, error) {
		if time.Since(appended) > time.Second { // an append that comes while the worker reads need not push
			appended = time.Now()
			b.append("e")
		}
		select {
		case source := <-woken:
			return source == rouse.WakePush, nil
		default:
			return false, nil
		}
	})
	require.NoError(t, w.Drain(b.ctx))
	require.NoError(t, w.Stop())
	require.NoError(t, <-waiting)
}

// An append is durable before it is acknowledged, also the second of a transaction that turned that off in between.
func TestEveryAppendOfATransactionCommitsSynchronously(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	for v := range 2 {
		_, err = tx.Exec(b.ctx, "set local synchronous_commit = off")
		require.NoError(t, err)
		_, err = tx.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'a', $1, 'e', '{}')`, v+1)
		require.NoError(t, err)
	}
	var commit string
	require.NoError(t, tx.QueryRow(b.ctx, "show synchronous_commit").Scan(&commit))
	require.Equal(t, "on", commit)
	require.NoError(t, tx.Commit(b.ctx))
}

// CACHE is raised while the worker runs: it stands still until that is mended, and hands nothing out in between.
func TestCacheThatIsRaisedWhileTheWorkerRunsLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	b.exec("alter table events alter global_position set cache 20")
	one, two := b.Conn(t), b.Conn(t)
	for i := range 6 { // in turn, from two sessions, each with its own cache
		conn := []*pgx.Conn{one, two}[i%2]
		_, err := conn.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', 'a', $1, 'e', '{}')`, i+1)
		require.NoError(t, err)
	}
	require.Never(t, func() bool { return len(b.done("p")) > 1 }, time.Second, 100*time.Millisecond)
	require.NoError(t, one.Close(b.ctx))
	require.NoError(t, two.Close(b.ctx))
	b.exec("alter table events alter global_position set cache 1")
	testdb.Eventually(t, patience, "everything to be handled", func() (bool, error) { return len(b.done("p")) == 7, nil })
}

// The log is truncated and filled anew, beyond its old head, in one transaction or while no worker runs. That is no log to go
// on with.
func TestLogInThePlaceOfAnotherStopsTheProjection(t *testing.T) {
	t.Parallel()
	refill := func(b *bundle) {
		b.exec(`begin; truncate events restart identity;
			insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) select 't', 'new', n, 'e', '{}' from generate_series(1, 8) n;
			commit`)
	}
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprint("running ", running), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.appendAll("e", "e", "e", "e", "e")
			cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}
			var err error
			if running {
				w := b.start(b.Pool, cfg).WaitStarted()
				require.NoError(t, w.Drain(b.ctx))
				refill(b)
				err = w.Wait()
			} else {
				require.NoError(t, b.drain(b.Pool, cfg))
				refill(b)
				err = b.drain(b.Pool, cfg)
			}
			var stopped *rouse.StoppedError
			require.ErrorAs(t, err, &stopped)
			require.ErrorContains(t, err, "the log is another one")
			require.Equal(t, []int64{1, 2, 3, 4, 5}, b.done("p"))
		})
	}
}

// Row level security on events, which hosted platforms switch on: the start is refused, and a worker that runs stands still.
func TestRowLevelSecurityPassesOverNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, pool := b.role()
	cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}
	w := b.start(pool, cfg).WaitStarted()
	b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	b.exec("alter table events enable row level security")
	b.appendAll("e", "e", "e")
	require.Never(t, func() bool {
		return b.int("select max(last_global_position) from projection_checkpoints") > 1
	}, time.Second, 100*time.Millisecond, "what is hidden must not be passed over")
	fresh, err := rouse.New(pool, cfg)
	require.NoError(t, err)
	require.ErrorContains(t, fresh.Run(b.ctx), "row level security")
	b.exec("alter table events disable row level security")
	testdb.Eventually(t, patience, "everything to be handled", func() (bool, error) { return len(b.done("p")) == 4, nil })
	require.NoError(t, w.Stop())
}

// The longest names that an event may have can be parked.
func TestEventWithTheLongestNamesCanBeParked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := strings.Repeat("n", 200)
	id := b.text("select string_agg(md5(n::text), '') from generate_series(1, 64) n")[:2047] // which does not compress
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('t', $1, 1, 'bad', '{}')`, id)
	b.append("good")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Retry: rouse.RetryPolicy{Tries: 1}, Projections: []rouse.Projection{projection{name: name,
		hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "bad" {
				return fmt.Errorf("no")
			}
			return nil
		}}}}))
	require.Len(t, b.done(name), 1)
	require.EqualValues(t, 1, b.int("select count(*) from parked_events"))
	_, err := b.Pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('tt', $1, 1, 'e', '{}')`, id)
	require.ErrorContains(t, err, "events_aggregate_length")
}

// text is what a statement returns.
func (b *bundle) text(sql string, args ...any) string {
	b.t.Helper()
	var text string
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&text))
	return text
}

// An engine that shows the locks of a transaction a second late would lose events in silence. No worker starts on it.
func TestEngineThatHidesYoungLocksIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create schema shadow")
	b.exec(`create view shadow.pg_locks as select l.* from pg_catalog.pg_locks l join pg_stat_activity a using (pid)
		where a.xact_start < clock_timestamp() - interval '1 second'`)
	b.exec("alter database " + pgx.Identifier{b.Name}.Sanitize() + " set search_path = shadow, pg_catalog, public")
	b.Pool.Reset()
	w, err := rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	require.NoError(t, err)
	err = w.Run(b.ctx)
	require.ErrorIs(t, err, catchup.ErrEngine)
	require.ErrorContains(t, err, "pg_locks shows 0 at once")
}
