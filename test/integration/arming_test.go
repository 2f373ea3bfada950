package integration_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// sleeperSQL is the session that holds S, 0 if there is none: if nobody sleeps, appends notify nobody.
const sleeperSQL = `select coalesce(max(pid), 0) from pg_locks where locktype = 'advisory' and classid = 1919907155 and objsubid = 2
	and mode = 'ShareLock' and database = (select oid from pg_database where datname = current_database())`

// gate lets a worker connect to listen, or not.
type gate struct{ closed atomic.Bool }

func (g *gate) config(t *testing.T, url string) func(context.Context) (*pgx.ConnConfig, error) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if g.closed.Load() {
			return nil, errors.New("the test lets nobody listen")
		}
		return dial(ctx, network, addr)
	}
	return func(context.Context) (*pgx.ConnConfig, error) { return cfg, nil }
}

// An append that was made while the worker did not sleep notifies nobody, also if it commits when the worker is armed again.
// So an armed worker goes on reading until every such append has ended, and sleeps only then.
func TestAppendOpenAtTheArmingKeepsTheWorkerAwake(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	pool, reads := s.watchedPool(s.URL)
	var g gate
	w := s.start(pool, rouse.Config{
		Projections: []rouse.Projection{recorder{name: "r"}}, ListenConn: g.config(t, s.URL),
	}).WaitStarted()
	quiet := func() (bool, error) { return w.Status().Mode == string(listener.Quiet), nil }
	testdb.Eventually(t, patience, "the worker to arm", quiet)

	for round := range 4 {
		g.closed.Store(true)
		s.exec("select pg_terminate_backend($1)", s.int(sleeperSQL))
		s.eventually(patience, "nobody to sleep", "select ("+sleeperSQL+") = 0")
		open, position := s.open("a")
		g.closed.Store(false)
		testdb.Eventually(t, patience, "the worker to arm again", quiet)

		// By the fallback poll alone this many reads would take minutes.
		wake, from := w.Status().LastWake, reads.n.Load()
		const many = 20
		testdb.Eventually(t, patience/2, "the worker to go on reading", func() (bool, error) { return reads.n.Load() >= from+many, nil })
		require.Equal(t, wake, w.Status().LastWake, "and nobody wakes it")
		if round%2 == 0 {
			require.NoError(t, open.Commit(s.ctx))
			s.eventually(patience, "the event to be handled", "select exists (select from seen where global_position = $1)", position)
			require.Equal(t, wake, w.Status().LastWake, "no wake has led to it")
		} else {
			require.NoError(t, open.Rollback(s.ctx))
		}
		sleeps(t, reads)

		s.append(s.Pool, "b")
		testdb.Eventually(t, patience, "a wake", func() (bool, error) { return w.Status().LastWake.After(wake), nil })
		s.exact("r")
	}
}

// sleeps waits until the reads of the log have become rare.
func sleeps(t *testing.T, reads *reads) {
	t.Helper()
	n, since := reads.n.Load(), time.Now()
	testdb.Eventually(t, patience, "the worker to sleep", func() (bool, error) {
		if now := reads.n.Load(); now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond, nil
	})
}
