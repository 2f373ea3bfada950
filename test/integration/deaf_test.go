package integration_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// ears are the connections of a worker that lead to PostgreSQL itself, by their own ports.
type ears struct {
	mu    sync.Mutex // protects conns
	conns map[int]*ear
}

// ear is a connection over which nothing comes any more once it is deaf, and which stays open.
type ear struct {
	net.Conn
	deaf atomic.Bool
}

func (e *ear) Read(p []byte) (n int, err error) {
	for {
		n, err = e.Conn.Read(p)
		if err != nil || !e.deaf.Load() {
			return n, err
		}
	}
}

func (e *ears) config(t *testing.T, url string) func(context.Context) (*pgx.ConnConfig, error) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	e.conns = map[int]*ear{}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		heard := &ear{Conn: conn}
		if own, is := conn.LocalAddr().(*net.TCPAddr); is {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.conns[own.Port] = heard
		}
		return heard, nil
	}
	return func(context.Context) (*pgx.ConnConfig, error) { return cfg, nil }
}

// deafen makes the connection from a port deaf.
func (e *ears) deafen(t *testing.T, port int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	require.Contains(t, e.conns, port)
	e.conns[port].deaf.Store(true)
}

// A worker whose listening connection has gone silent, without an end that anybody would be told of, finds out and listens on
// another one.
func TestDeafWorkerHearsAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	var ears ears
	w := s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{recorder{name: "r"}}, ListenConn: ears.config(t, s.URL),
	}).WaitStarted()
	quiet := func() (bool, error) { return w.Status().Mode == string(listener.Quiet), nil }
	testdb.Eventually(t, patience, "the worker to arm", quiet)

	const sleepers = `from pg_stat_activity where pid in (select pid from pg_locks where locktype = 'advisory' and classid = 1919907155
		and objsubid = 2 and mode = 'ShareLock' and database = (select oid from pg_database where datname = current_database()))`
	port := s.int("select client_port " + sleepers)
	ears.deafen(t, int(port))
	s.eventually(patience, "the worker to listen on another connection", "select exists (select "+sleepers+" and client_port <> $1)", port)
	testdb.Eventually(t, patience, "the worker to arm again", quiet)
	wake := w.Status().LastWake
	s.append(s.Pool, "a")
	testdb.Eventually(t, patience, "a wake", func() (bool, error) { return w.Status().LastWake.After(wake), nil })
	s.exact("r")
}
