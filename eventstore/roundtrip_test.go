package eventstore_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// turnCounter counts how often a connection speaks after it has listened: the round trips.
type turnCounter struct {
	mu       sync.Mutex // protects the following fields
	turns    int
	listened bool
}

type countingConn struct {
	net.Conn
	counter *turnCounter
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.counter.mu.Lock()
	defer c.counter.mu.Unlock()
	c.counter.listened = c.counter.listened || n > 0
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	c.counter.mu.Lock()
	if c.counter.listened {
		c.counter.turns++
		c.counter.listened = false
	}
	c.counter.mu.Unlock()
	return c.Conn.Write(b)
}

// during returns the number of round trips that f takes.
func (c *turnCounter) during(f func()) int {
	c.mu.Lock()
	before := c.turns
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns - before
}

func TestAppend_TakesOneRoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			oneAndMany(t, func(t *testing.T, n int) {
				stream := streamOf(t)
				counter := &turnCounter{}
				config, err := pgx.ParseConfig(b.URL)
				require.NoError(t, err)
				config.DefaultQueryExecMode = mode
				dial := config.DialFunc
				config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return countingConn{Conn: conn, counter: counter}, err
				}
				conn, err := pgx.ConnectConfig(b.ctx, config)
				require.NoError(t, err)
				defer func() { _ = conn.Close(b.ctx) }()
				tx, err := conn.Begin(b.ctx)
				require.NoError(t, err)
				_, err = eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), some(n)...)
				require.NoError(t, err) // the first one of a connection also prepares

				turns := counter.during(func() {
					_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Exact(int64(n)), some(n)...)
				})
				require.NoError(t, err)
				assert.Equal(t, 1, turns, "success")
				turns = counter.during(func() {
					_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Exact(1000), some(n)...)
				})
				require.ErrorIs(t, err, eventstore.ErrConflict)
				assert.Equal(t, 1, turns, "a conflict that the statement sees by itself")
			})
		})
	}
}
