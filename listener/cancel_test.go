package listener_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// canceledState is the SQLSTATE of a statement that was cancelled, by its timeout or by another session.
const canceledState = "57014"

// appendForeverSQL is one statement that appends, and with that probes for sleepers, again and again, until it is
// cancelled somewhere in that. Nothing of it stays.
const appendForeverSQL = `do $$ begin
  for i in 1..1000000000 loop
    insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
    values ('cancelled', pg_backend_pid()::text, i, 'Happened', '{}');
  end loop;
end $$`

// twoStatements is the push trigger's function in the form that comes to mind first.
const twoStatements = `
  if pg_try_advisory_lock(1919907155, k) then
    perform pg_advisory_unlock(1919907155, k);
  else
    perform pg_notify('rouse_' || tg_relid, '');
  end if;`

// replacePush gives the push trigger's function another way to ask who sleeps; k is S's second key.
func (b *testBundle) replacePush(t *testing.T, statements string) {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, `create or replace function rouse_append_after() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k int := (tg_relid::bigint - case when tg_relid::bigint > 2147483647 then 4294967296 else 0 end)::int;
begin`+statements+`
  return null;
end $$`)
	require.NoError(t, err)
}

func isCanceled(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == canceledState
}

// hurried opens a session whose statements end after so many milliseconds.
func (b *testBundle) hurried(t *testing.T, ms int) *pgx.Conn {
	t.Helper()
	cfg := b.Pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["statement_timeout"] = strconv.Itoa(ms)
	conn, err := pgx.ConnectConfig(b.ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(b.ctx) })
	return conn
}

// appendForever appends on conn until it is cancelled.
func (b *testBundle) appendForever(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	_, err := conn.Exec(b.ctx, appendForeverSQL)
	require.True(t, isCanceled(err), "the statement is cancelled, and does not end by: %v", err)
}

// leaks reports whether a session holds any advisory lock.
func (b *testBundle) leaks(t *testing.T, conn *pgx.Conn) (leaks bool) {
	t.Helper()
	pid := conn.PgConn().PID()
	err := b.Pool.QueryRow(b.ctx, "select exists (select from pg_locks where locktype = 'advisory' and pid = $1)", int32(pid)).Scan(&leaks)
	require.NoError(t, err)
	return leaks
}

// A probe that was cancelled between its lock and its unlock would leave the lock on the session of a writer, and from then
// on nobody could sleep.
func TestCancelledAppends_LeaveNoLockBehind(t *testing.T) {
	t.Parallel()
	cancels := 150
	if stress() {
		cancels = 5000
	}
	t.Run("by a timeout", func(t *testing.T) {
		b := setup(t)
		conn := b.hurried(t, 3)
		for range cancels {
			b.appendForever(t, conn)
			require.False(t, b.leaks(t, conn), "a cancelled append holds an advisory lock")
		}
		b.requireArms(t)
	})
	t.Run("by a timeout, beside a sleeper", func(t *testing.T) {
		b := setup(t)
		asleep := b.listen(t)
		asleep.sleep(t, b.log.Events)
		conn := b.hurried(t, 3)
		for range cancels {
			b.appendForever(t, conn)
			require.False(t, b.leaks(t, conn), "a cancelled append holds an advisory lock")
		}
		require.Equal(t, []int32{int32(asleep.conn.PgConn().PID())}, b.sleepers(t))
	})
	t.Run("by another session", func(t *testing.T) {
		b := setup(t)
		conn := b.Conn(t)
		for range cancels {
			b.cancelSoon(t, conn)
			require.False(t, b.leaks(t, conn), "a cancelled append holds an advisory lock")
		}
		b.requireArms(t)
	})
	t.Run("naive", func(t *testing.T) {
		b := setup(t)
		b.replacePush(t, twoStatements)
		conn := b.hurried(t, 3)
		for n := 1; !b.leaks(t, conn); n++ {
			require.Less(t, n, 5000, "the two-statement form has to be able to leak")
			b.appendForever(t, conn)
		}
		cfg, _ := b.config(t)
		err := listener.NewHandler(listener.New(cfg), b.Conn(t)).Arm(b.ctx)
		require.ErrorIs(t, err, listener.ErrRefused, "nobody can sleep any more")
	})
}

// cancelSoon appends on conn and cancels that at a random time.
func (b *testBundle) cancelSoon(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var canceller sync.WaitGroup
	defer canceller.Wait()
	ctx, done := context.WithCancel(b.ctx)
	defer done()
	canceller.Go(func() {
		for ctx.Err() == nil { // one that comes before the statement does nothing
			<-time.After(rand.N(2 * time.Millisecond))
			_, err := b.Pool.Exec(b.ctx, "select pg_cancel_backend($1)", int32(conn.PgConn().PID()))
			assert.NoError(t, err)
		}
	})
	b.appendForever(t, conn)
}

// requireArms reports whether one can sleep, and is woken.
func (b *testBundle) requireArms(t *testing.T) {
	t.Helper()
	require.Empty(t, b.locks(t), "nobody is asleep")
	s := b.sleeper(t, b.listen(t, wakeChannel(b.log.Events)), false)
	require.NoError(t, s.handler.Arm(b.ctx))
	s.fallAsleep(t)
	b.append(t)
	testdb.Eventually(t, patience, "a wake", func() (bool, error) {
		n, err := s.ears.conn.WaitForNotification(b.ctx)
		return err == nil && n.Channel == wakeChannel(b.log.Events), err
	})
	require.NoError(t, s.handler.Disarm(b.ctx))
}
