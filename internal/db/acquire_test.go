package db_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// line is what the connections of a pool go through.
type line struct {
	mu     sync.Mutex // protects silent
	silent bool       // nothing comes any more, and nothing is refused
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
}

// conn is a connection through a line.
type conn struct {
	net.Conn
	line *line
}

func (c conn) Write(p []byte) (int, error) {
	c.line.mu.Lock()
	silent := c.line.silent
	c.line.mu.Unlock()
	if silent {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// pool opens a pool of n connections over l.
func pool(t *testing.T, n int32, l *line) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(testdb.New(t).URL)
	require.NoError(t, err)
	cfg.MaxConns = n
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // as one that was idle
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return conn{c, l}, err
	}
	p, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// short is a context whose end a wait for a connection meets, long before db.Timeout.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A pool that is in use is told from a database that is silent, whatever the statement is sent with.
func TestAcquire_TellsABusyPoolFromASilentDatabase(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(ctx context.Context, p *pgxpool.Pool) error{
		"Acquire": func(ctx context.Context, p *pgxpool.Pool) error {
			c, err := db.Acquire(ctx, p)
			if err == nil {
				c.Release()
			}
			return err
		},
		"Exec":  func(ctx context.Context, p *pgxpool.Pool) error { return db.Exec(ctx, p, "select 1") },
		"Query": func(ctx context.Context, p *pgxpool.Pool) error { return db.QueryRow(ctx, p, nil, "select") },
		"Tx": func(ctx context.Context, p *pgxpool.Pool) error {
			return db.Tx(ctx, p, func(pgx.Tx) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l line
			p := pool(t, 1, &l)
			held, err := p.Acquire(t.Context())
			require.NoError(t, err)
			err = use(short(t), p)
			require.ErrorIs(t, err, db.ErrPoolBusy)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "it has 1, and all of them are in use")
			held.Release()
			require.NoError(t, use(t.Context(), p))
			l.cut()
			err = use(short(t), p)
			require.Error(t, err)
			require.NotErrorIs(t, err, db.ErrPoolBusy)
		})
	}
}
