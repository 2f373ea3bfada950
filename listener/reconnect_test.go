package listener_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// endAllSQL ends all other sessions of this database.
const endAllSQL = `select count(pg_terminate_backend(pid)) from pg_stat_activity
	where datname = current_database() and pid <> pg_backend_pid()`

// sleeperSinceSQL says whether a session that began after $1 holds S.
const sleeperSinceSQL = `select exists (select from pg_locks join pg_stat_activity using (pid)
	where locktype = 'advisory' and classid = 1919907155 and datname = current_database() and backend_start > $1)`

// armedAgain waits until another session than before holds S.
func (b *testBundle) armedAgain(t *testing.T, l *running, before int32) (pid int32) {
	t.Helper()
	since := time.Now()
	testdb.Eventually(t, patience, "the listener to be back", func() (bool, error) {
		pids := b.sleepers(t)
		if len(pids) != 1 || pids[0] == before {
			return false, nil
		}
		pid = pids[0]
		return l.quiet()
	})
	t.Logf("armed again after %v", time.Since(since).Round(time.Millisecond))
	return pid
}

func TestReconnect_IsBackAfterItsConnectionWasDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, _ := b.config(t)
	l := b.run(t, cfg)
	woken, leave := l.Subscribe()
	defer leave()
	pid := b.armed(t, l)
	for n := range 3 {
		b.terminate(t, pid)
		pid = b.armedAgain(t, l, pid)
		require.Equal(t, n+2, l.saw(listener.Quiet))
		require.Equal(t, n+1, l.saw(listener.Polling), "readers are told to poll meanwhile")
		before := l.State().LastWake
		b.append(t)
		testdb.Eventually(t, patience, "a wake", func() (bool, error) { return l.State().LastWake.After(before), nil })
		receive(t, woken)
	}
}

// When all connections of the process are dropped at once, the pool's have to be replaced too before a probe can be sent.
func TestReconnect_IsBackAfterAllConnectionsWereDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, _ := b.config(t)
	l := b.run(t, cfg)
	b.armed(t, l)
	other := b.Conn(t)
	quick := 0 // a machine that stands still may need another try
	for try := 0; try < 15 && quick < 3; try++ {
		// Fill the pool with connections that were used just now, which it does not look at again before it lends them.
		b.fillPool(t)
		var ended time.Time
		require.NoError(t, other.QueryRow(b.ctx, "select clock_timestamp()").Scan(&ended))
		_, err := other.Exec(b.ctx, endAllSQL)
		require.NoError(t, err)
		since := time.Now()
		testdb.Eventually(t, patience, "the listener to be back", func() (bool, error) {
			var back bool
			if err := other.QueryRow(b.ctx, sleeperSinceSQL, ended).Scan(&back); err != nil || !back {
				return false, err
			}
			return l.quiet()
		})
		took := time.Since(since)
		t.Logf("armed again after %v", took.Round(time.Millisecond))
		if took < 3*time.Second {
			quick++
		}
	}
	require.Equal(t, 3, quick, "back long before the next regular probe")
}

// fillPool uses as many connections of the pool as there can be, living ones.
func (b *testBundle) fillPool(t *testing.T) {
	t.Helper()
	var held []*pgxpool.Conn
	defer func() {
		for _, conn := range held {
			conn.Release()
		}
	}()
	for range b.Pool.Config().MaxConns {
		testdb.Eventually(t, patience, "a living connection", func() (bool, error) {
			conn, err := b.Pool.Acquire(b.ctx)
			if err != nil {
				return false, err
			}
			if conn.Ping(b.ctx) != nil {
				conn.Release() // one that was ended and that nobody had used since; the pool drops it
				return false, nil
			}
			held = append(held, conn)
			return true, nil
		})
	}
}

// A day without a server, by a clock of the test's own.
func TestReconnect_GoesOnForEverWithGrowingPauses(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	conn, err := pgx.ParseConfig("postgres://nobody@192.0.2.1/nowhere?sslmode=disable")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		w := &wires{refused: true}
		ctx, cancel := context.WithTimeout(t.Context(), day)
		defer cancel()
		conn.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if len(w.attempts()) > 10_000 {
				cancel() // no pauses at all, so that the clock stands still
			}
			return w.connect(ctx, network, addr)
		}
		conn.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
		start := time.Now()
		l := listener.New(listener.Config{Dialer: db.DialerOf(conn), Events: 1, Sequence: 2, Instance: "nobody"})
		l.Run(ctx)
		require.Equal(t, listener.State{Mode: listener.Polling}, l.State())

		attempts := w.attempts()
		var pauses []time.Duration
		for last := start; len(attempts) > 0; attempts = attempts[1:] {
			pauses = append(pauses, attempts[0].Sub(last))
			last = attempts[0]
		}
		assert.Less(t, pauses[0], 100*time.Millisecond)
		assert.Greater(t, pauses[6], 8*pauses[0], "they double")
		assert.LessOrEqual(t, slices.Max(pauses), 30*time.Second)
		assert.Greater(t, slices.Min(pauses[len(pauses)/2:]), 10*time.Second)
		var sum time.Duration
		for _, p := range pauses {
			sum += p
		}
		assert.Greater(t, sum, day-time.Minute, "it has not given up on the way")
	})
}

// A role that may not log in any more, or that may not arm, must not keep the server busy with connections.
func TestReconnect_ARightThatWasRevokedMakesNoStorm(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil) // of its own, because roles are the server's
	tests := map[string]struct{ role, revoke, grant string }{
		"to log in": {"one", "alter role one nologin", "alter role one login"},
		"to take S": {"two", "revoke execute on function pg_try_advisory_lock_shared(int, int) from public",
			"grant execute on function pg_try_advisory_lock_shared(int, int) to public"},
		"to see the head": {"three", "revoke select on sequence events_global_position_seq from three",
			"grant select on sequence events_global_position_seq to three"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, testdb.On(t, server), testLimit)
			exec := func(sql string) {
				_, err := b.Pool.Exec(b.ctx, sql)
				require.NoError(t, err)
			}
			exec("create role " + tt.role + " login password '" + testdb.Password + "'")
			exec("grant select on sequence events_global_position_seq to " + tt.role)
			cfg, wires := b.config(t, func(conn *pgx.ConnConfig) { conn.User, conn.Password = tt.role, testdb.Password })
			l := b.run(t, cfg)
			pid := b.armed(t, l)

			exec(tt.revoke)
			before := len(wires.attempts())
			b.terminate(t, pid)
			const tries = 6
			testdb.Eventually(t, patience, "some attempts", func() (bool, error) { return len(wires.attempts()) >= before+tries, nil })
			attempts := wires.attempts()[before:]
			early, late := attempts[1].Sub(attempts[0]), attempts[tries-1].Sub(attempts[tries-2])
			t.Logf("pause after the first attempt %v, after the last %v", early, late)
			require.Greater(t, late, 500*time.Millisecond, "pauses grow")

			exec(tt.grant)
			b.armedAgain(t, l, pid)
		})
	}
}
