//go:build unix

package integration_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// An engine may keep unlogged tables over a crash, and the token with them. The server itself says then that it was one: it has
// started anew, or, where it began again by itself after the death of a backend, its statistics have. The worker is between two
// statements meanwhile, and its pool connects again unseen; positions are given out up to beyond its cursor before it reads on, so
// that it never sees a head below that.
func TestPositionsGivenOutAgainWhereTheTokenOutlivesTheCrashAreHandled(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]func(s *stage, server *pgserver.Server){
		"the server starts anew": func(s *stage, server *pgserver.Server) {
			require.NoError(s.t, server.Crash(s.ctx))
			require.NoError(s.t, server.Restart(s.ctx))
		},
		"a backend is killed": func(s *stage, _ *pgserver.Server) { s.killBackend() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := onCrashServer(t)
			s.exec("alter table rouse_incarnation set logged")
			token := s.text("select token::text from rouse_incarnation")
			turnstile := newTurnstile()
			pool, reads := s.watchedPool(s.URL, turnstile.stand)
			w := s.start(pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, PollOnly: true}).WaitStarted()
			shown := false
			for try := 0; try < 8 && !shown; try++ { // something may have flushed the log meanwhile
				s.append(s.Conn(t), "a")
				s.exact("r")
				s.flush() // so that the checkpoint in the table is the one that the worker remembers
				remembered := s.int("select max(nextval(pg_get_serial_sequence('events', 'global_position'))) from generate_series(1, 99)")
				reads.again(t)
				turnstile.close()
				testdb.Eventually(t, patience, "every statement to have ended", func() (bool, error) {
					return pool.Stat().AcquiredConns() == turnstile.waiting.Load(), nil
				})
				crash(s, server)
				shown = s.givenAgain(150) <= remembered
				turnstile.open()
				s.exact("r")
			}
			require.True(t, shown, "a reader that remembers its cursor must lose some, or nothing is shown")
			require.Equal(t, token, s.text("select token::text from rouse_incarnation"))
			w.MustStop()
			s.exact("r")
		})
	}
}

// flush returns when everything that was committed before is on disk.
func (s *stage) flush() {
	s.t.Helper()
	conn := s.Conn(s.t)
	for _, sql := range []string{"set synchronous_commit = on", "create table flushed ()", "drop table flushed"} {
		_, err := conn.Exec(s.ctx, sql)
		require.NoError(s.t, err)
	}
}

// turnstile stands before the connections of a pool. While it is closed nobody gets one, and behind it nobody gets one that has
// died meanwhile.
type turnstile struct {
	free    chan struct{} // has one element while the turnstile is open
	waiting atomic.Int32  // connections of which it has not said yet whether they live
}

func newTurnstile() *turnstile {
	d := &turnstile{free: make(chan struct{}, 1)}
	d.open()
	return d
}

func (d *turnstile) open()  { d.free <- struct{}{} }
func (d *turnstile) close() { <-d.free }

func (d *turnstile) stand(cfg *pgxpool.Config) {
	cfg.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		d.waiting.Add(1)
		defer d.waiting.Add(-1)
		select {
		case <-d.free:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		d.free <- struct{}{}
		return conn.Ping(ctx) == nil, nil
	}
}

// killBackend kills a backend, as a lack of memory does, and waits until the server has begun again, which it does by itself.
func (s *stage) killBackend() {
	s.t.Helper()
	conn := s.Conn(s.t)
	began := s.text("select pg_postmaster_start_time()::text")
	require.NoError(s.t, syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL))
	_, err := conn.Exec(s.ctx, "select pg_sleep(60)")
	require.Error(s.t, err)
	s.Pool.Reset()
	testdb.Eventually(s.t, patience, "the server to be back", func() (bool, error) {
		fresh, err := pgx.Connect(s.ctx, s.URL)
		if err != nil {
			return false, nil
		}
		return true, fresh.Close(s.ctx)
	})
	s.Pool.Reset()
	require.Equal(s.t, began, s.text("select pg_postmaster_start_time()::text"), "it must have begun again by itself")
}
