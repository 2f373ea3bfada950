package rouse_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	operator "github.com/rouse-es/rouse/projection"
)

// smallPool opens a pool of n connections.
func (b *bundle) smallPool(n int32) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.MaxConns = n
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// waitDone waits until a projection has written down n positions.
func (b *bundle) waitDone(name string, n int64) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, name+" to be done", func() (bool, error) {
		return b.int("select count(*) from done where projection = $1", name) == n, nil
	})
}

// A worker never waits for a connection of the pool while it holds one, so it gets everything done through a single one: all
// kinds of handlers at once, a retry of what is parked, and a reset.
func TestPool_OneConnectionIsEnoughToGoOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for version := range 8 {
		b.version("a", version+1)
		b.version("b", version+1)
	}
	var k breakable
	k.broken.Store(true)
	breaks := projection{name: "breaks", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error { return k.fail(ev) }}
	effect := &outside{}
	pool := b.smallPool(1)
	w := b.start(pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "each"}, batched{projection: projection{name: "batch"}}, breaks},
		Effects:     []rouse.Effect{effect}, Concurrency: 4,
	}).WaitStarted()
	b.waitDone("each", 16)
	b.waitDone("batch", 16)
	b.waitDone("breaks", 12) // without the versions 5 to 8 of a
	testdb.Eventually(t, patience, "the others to be parked", func() (bool, error) { return b.int("select count(*) from parked_events") == 4, nil })
	k.broken.Store(false)
	_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "breaks"})
	require.NoError(t, err)
	b.waitDone("breaks", 16)
	_, err = operator.Reset(b.ctx, b.Pool, "each", 0, true)
	require.NoError(t, err)
	b.waitDone("each", 32)
	testdb.Eventually(t, patience, "the effect", func() (bool, error) { return len(effect.positions()) == 16, nil })
	w.MustStop()
}

// What the projections can use at once, and what the pool has, is said at the start.
func TestPool_ASmallOneIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for connections, warned := range map[int32]bool{3: true, 4: false} { // Concurrency + 2, whatever the number of projections
		var log logged
		w := b.start(b.smallPool(connections), rouse.Config{
			Projections: []rouse.Projection{projection{name: "a"}, projection{name: "b"}}, Concurrency: 2, Log: zerolog.New(&log),
		}).WaitStarted()
		w.MustStop()
		if warned {
			require.NotEmpty(t, log.line(`"connections":3,"wanted":4`, "the pool has fewer connections than one projection uses"))
		} else {
			require.Empty(t, log.line("fewer connections"))
		}
	}
}

// A pool whose connections are all in use is told from a database that does not answer, and no event is blamed.
func TestPool_IsToldFromASilentDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log logged
	pool := b.smallPool(2)
	w := b.start(pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "r"}}, Log: zerolog.New(&log),
	}).WaitStarted()
	held := make([]*pgxpool.Conn, 2)
	for i := range held {
		var err error
		held[i], err = pool.Acquire(b.ctx)
		require.NoError(t, err)
		t.Cleanup(held[i].Release)
	}
	b.append("a")
	log.says(t, "the pool has too few connections, trying again", "no connection of the pool was free for 10s: it has 2, and all of them are in use")
	require.Empty(t, log.line("the database does not answer"))
	b.troubled("r", "the pool has too few connections, trying again: ")
	for _, conn := range held {
		conn.Release()
	}
	b.waitDone("r", 1)
	b.untroubled("r")
	require.Zero(t, b.int("select count(*) from event_attempts"))
	w.MustStop()
}
