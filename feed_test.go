package rouse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// counter counts the events that were read from the log through a pool, and the round trips of its connections but for probes.
type counter struct {
	events, trips atomic.Int64
	pooled        sync.Map // the connections of the pool; those that a worker opens beside it have the same settings
}

func (c *counter) trip(conn *pgx.Conn) {
	if _, is := c.pooled.Load(conn); is {
		c.trips.Add(1)
	}
}

func (c *counter) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.trip(conn)
	return ctx
}

func (c *counter) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if c.reads(data.SQL) {
		c.events.Add(data.CommandTag.RowsAffected())
	}
}

// reads reports whether a statement reads events.
func (*counter) reads(sql string) bool {
	return strings.Contains(sql, `events where global_position > $1`) || strings.Contains(sql, `events where global_position = p.at`)
}

func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (c *counter) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !strings.Contains(data.SQL, "pg_notify") && data.SQL != "-- ping" { // with which a pool looks at what it hands out
		c.trip(conn)
	}
	if c.reads(data.SQL) {
		return context.WithValue(ctx, c, true)
	}
	return ctx
}

func (c *counter) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if ctx.Value(c) != nil {
		c.events.Add(data.CommandTag.RowsAffected())
	}
}

// counted opens another pool, whose statements are counted.
func (b *bundle) counted() (*pgxpool.Pool, *counter) {
	b.t.Helper()
	c := &counter{}
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.Tracer = c
	cfg.MaxConns = 12
	cfg.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) { // AfterConnect is for the control connection too
		c.pooled.Store(conn, nil)
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool, c
}

// Five projections in one process cost the server one read of each event, not five.
func TestProcessReadsTheTailOnceForAllProjections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, c := b.counted()
	var projections []rouse.Projection
	for i := range 5 {
		projections = append(projections, projection{name: fmt.Sprint("p", i)})
	}
	w := b.start(pool, rouse.Config{Projections: projections}).WaitStarted()
	require.NoError(t, w.Drain(b.ctx))
	at := []int64{b.append("first")} // which may still be read by those that have not joined
	require.NoError(t, w.Drain(b.ctx))
	before := c.events.Load()
	const appends = 50
	for range appends {
		at = append(at, b.append("e"))
		require.NoError(t, w.Drain(b.ctx))
	}
	read := c.events.Load() - before
	t.Logf("%d rows for %d events", read, appends)
	require.GreaterOrEqual(t, read, int64(appends))
	require.Less(t, read, int64(2*appends), "a glance that cannot tell reads again, and that is all")
	require.NoError(t, w.Stop())
	for i := range 5 {
		require.Equal(t, at, b.done(fmt.Sprint("p", i)))
	}
}

// A handler that blocks holds up its own projection and no other, however far the others get.
func TestBlockedProjectionHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHandler, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	blocked := projection{name: "blocked", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "block" {
			once.Do(func() { close(inHandler); <-goOn })
		}
		return nil
	}}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{blocked, projection{name: "free"}}, BatchSize: 5, HandlerTimeout: -1}).WaitStarted()
	require.NoError(t, w.Drain(b.ctx))
	at := []int64{b.append("block")}
	<-inHandler
	for range 40 { // many times what is kept for a slow one
		at = append(at, b.appendAll("e", "e", "e", "e", "e")...)
	}
	testdb.Eventually(t, patience, "the other to handle everything", func() (bool, error) { return len(b.done("free")) == len(at), nil })
	require.Empty(t, b.done("blocked"))
	close(goOn)
	require.NoError(t, w.Drain(b.ctx))
	at = append(at, b.append("e"))
	require.NoError(t, w.Drain(b.ctx))
	require.NoError(t, w.Stop())
	require.Equal(t, at, b.done("free"))
	require.Equal(t, at, b.done("blocked"))
}

// Projections of every kind and pace live on one read of a log with slow commits and rollbacks, while a second process joins
// and leaves: each handles exactly what is its own, once, in order.
func TestProjectionsOfEveryPaceShareOneRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dawdle := func(most time.Duration) func(context.Context, pgx.Tx, eventstore.Event) error {
		return func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
			_, err := tx.Exec(ctx, "select pg_sleep($1)", rand.Float64()*most.Seconds())
			return err
		}
	}
	projections := []rouse.Projection{
		projection{name: "plain"},
		batched{projection: projection{name: "batched"}},
		projection{name: "slow", hook: dawdle(8 * time.Millisecond)},
		scoped{projection: projection{name: "scoped", hook: dawdle(4 * time.Millisecond)}, events: []string{"odd"}},
	}
	cfg := rouse.Config{Projections: projections, BatchSize: 7, Partitions: 4}
	pool, _ := b.counted()
	first := b.start(pool, cfg).WaitStarted()
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for v := range 60 {
				b.slowAppend(fmt.Sprint("w", n), v)
			}
		})
	}
	otherPool, _ := b.counted()
	second := b.start(otherPool, cfg).WaitStarted()
	testdb.Eventually(t, patience, "the second to take part", func() (bool, error) { return second.Status().EventsHandled > 0, nil })
	writers.Wait()
	require.NoError(t, second.Stop())
	require.NoError(t, first.Drain(b.ctx))
	testdb.Eventually(t, patience, "the first to have all partitions", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where last_global_position = (select max(global_position) from events)") == 16, nil
	})
	require.NoError(t, first.Stop())
	for _, p := range projections {
		where := "true"
		if p.Name() == "scoped" {
			where = "event_type = 'odd'"
		}
		require.Zero(t, b.int(`select count(*) from (select global_position from events where `+where+`) e
			full join (select position, count(*) n from done where projection = $1 group by 1) d on d.position = e.global_position
			where n is distinct from 1 or global_position is null`, p.Name()), p.Name())
		require.Zero(t, b.int(`select count(*) from (select e.aggregate_version <= lag(e.aggregate_version) over (partition by aggregate_id order by d.n) back
			from done d join events e on e.global_position = d.position where d.projection = $1) s where back`, p.Name()), p.Name())
	}
}

// slowAppend appends the next event of an aggregate in a transaction that stays open for a moment; every third one is rolled back
// first.
func (b *bundle) slowAppend(aggregate string, version int) {
	try := func(end func(pgx.Tx) error) error {
		tx, err := b.Pool.Begin(b.ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(b.ctx) }()
		if _, err := tx.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', $1, $2, $3, '{}')`, aggregate, version+1, []string{"even", "odd"}[version%2]); err != nil {
			return err
		}
		if _, err := tx.Exec(b.ctx, "select pg_sleep($1)", rand.Float64()*0.005); err != nil {
			return err
		}
		return end(tx)
	}
	if version%3 == 0 {
		assert.NoError(b.t, try(func(tx pgx.Tx) error { return tx.Rollback(b.ctx) }))
	}
	assert.NoError(b.t, try(func(tx pgx.Tx) error { return tx.Commit(b.ctx) }))
}

// A worker that has nothing to do sends next to nothing on its event path, however many projections it has. Its heartbeats and
// the watch go over a connection of their own, and the probe is the one statement that is expected here every few seconds.
func TestIdleWorkerSendsNextToNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, c := b.counted()
	w := b.start(pool, rouse.Config{Projections: []rouse.Projection{
		projection{name: "one"}, batched{projection: projection{name: "two"}}, scoped{projection: projection{name: "three"}, events: []string{"odd"}},
	}}).WaitStarted()
	b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	length, most := 5*time.Second, int64(1)
	if os.Getenv("ROUSE_STRESS") != "" {
		length, most = time.Minute, 6
	}
	// The pauses between polls double up to half a minute, and the looks come to rest ten seconds after the last change.
	testdb.Eventually(t, patience, "a while without any statement", func() (bool, error) {
		before := c.trips.Load()
		<-time.After(4 * time.Second) // there is no signal for nothing
		return c.trips.Load() == before, nil
	})
	before := c.trips.Load()
	<-time.After(length)
	require.LessOrEqual(t, c.trips.Load()-before, most)
	at := b.append("odd")
	require.NoError(t, w.Drain(b.ctx))
	require.Contains(t, b.done("three"), at, "it was not idle because it was dead")
	require.NoError(t, w.Stop())
}
