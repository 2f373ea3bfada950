package rouse_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	operator "github.com/rouse-es/rouse/projection"
)

// started waits in the background, and returns what receives the outcome.
func (b *bundle) started(wait func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	return ended
}

// selective handles one type of events.
type selective struct{ projection }

func (selective) EventTypes() []string { return []string{"wanted"} }

// A checkpoint passes an event that is set aside. Whoever waits for it is told so, and for one behind it; once it is handled they find it.
func TestWaitForSaysThatAnEventIsParked(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{false, true} {
		b := setup(t)
		var broken atomic.Bool
		broken.Store(true)
		p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "bad" && broken.Load() {
				return rouse.Permanent(errBroken)
			}
			return nil
		}}
		cfg := rouse.Config{Projections: []rouse.Projection{p}}
		if together {
			cfg.Projections = append(cfg.Projections, batched{projection: projection{name: "q"}})
		}
		b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
		pool := b.pool(pgx.QueryExecModeCacheStatement)
		stream := eventstore.Stream{Type: "thing", ID: "1"}
		require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "good")))
		bad := b.appendedTo(pool, stream, "good", "bad")
		require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", bad), rouse.ErrParked)
		behind := b.appendedTo(pool, stream, "behind")
		require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", behind), rouse.ErrParked)
		require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "good"), behind), rouse.ErrParked)
		require.NoError(t, rouse.WaitForHead(b.ctx, pool, "p"), "what is set aside is not waited for")
		for range 20 { // later events of the same partition say nothing of it
			b.appended(pool, "good")
		}
		require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", bad), rouse.ErrParked)

		broken.Store(false)
		_, err := parked.Retry(b.ctx, pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "the parked events to be handled", func() (bool, error) {
			err := rouse.WaitFor(b.ctx, pool, "p", bad, behind)
			if errors.Is(err, rouse.ErrParked) {
				return false, nil
			}
			return true, err
		})
		require.Subset(t, b.done("p"), append(bad.Positions, behind.Positions...))
	}
}

// An event that has failed and is tried again is waited for, and so is one behind it.
func TestWaitForWaitsForAnEventThatIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var tries atomic.Int64
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "bad" && tries.Add(1) < 4 {
			return errBroken
		}
		return nil
	}}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "good")))
	stream := eventstore.Stream{Type: "thing", ID: "1"}
	bad := b.appendedTo(pool, stream, "bad")
	behind := b.appendedTo(pool, stream, "behind")
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", behind))
	require.Subset(t, b.done("p"), append(bad.Positions, behind.Positions...))
	require.GreaterOrEqual(t, tries.Load(), int64(4))
}

// What nobody will handle without a person's doing something ends the wait, at its beginning and while it lasts.
func TestWaitForSaysWhyItWillNotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "e")), rouse.ErrNoProjection)
	require.ErrorIs(t, rouse.WaitForHead(b.ctx, pool, "p"), rouse.ErrNoProjection)
	require.Error(t, rouse.WaitFor(b.ctx, pool, "p", eventstore.Appended{}), "nothing was appended")

	hold := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	fails := func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error {
		switch ev.Type {
		case "stop":
			return rouse.Permanent(errBroken)
		case "slow":
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return nil
	}
	cfg := rouse.Config{HandlerTimeout: -1, OnFailure: rouse.Stop, Projections: []rouse.Projection{projection{name: "p", hook: fails}}}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "e")))

	slow := b.appended(pool, "slow")
	waits := b.started(func() error { return rouse.WaitFor(b.ctx, pool, "p", slow) })
	short, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	err := rouse.WaitFor(short, pool, "p", slow)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "projection p")
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	require.ErrorIs(t, <-waits, rouse.ErrPaused)
	require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", slow), rouse.ErrPaused)
	require.ErrorIs(t, rouse.WaitForHead(b.ctx, pool, "p"), rouse.ErrPaused)
	goOn()
	require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", slow))

	require.ErrorIs(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "stop")), rouse.ErrStopped)
	require.ErrorIs(t, rouse.WaitForHead(b.ctx, pool, "p"), rouse.ErrStopped)
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", slow), "that was handled before")
}

// An event that nobody wants moves no checkpoint for a while. The wait for it ends as soon as the workers have passed it, whoever owns its
// partition.
func TestWaitForAnEventThatIsNotHandled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{Projections: []rouse.Projection{selective{projection{name: "p"}}}}
	for range 2 {
		b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	}
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	for range 30 {
		require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "unwanted")))
		require.NoError(t, rouse.WaitForHead(b.ctx, pool, "p"))
	}
	last := b.append("unwanted")
	require.NoError(t, rouse.WaitForPosition(b.ctx, pool, "p", last))
	ahead := b.started(func() error { return rouse.WaitForPosition(b.ctx, pool, "p", last+2) })
	b.append("unwanted")
	b.append("wanted")
	require.NoError(t, <-ahead)
	require.Len(t, b.done("p"), 1)
}

// A wait outlasts a reset: what was handled counts no more until it is handled anew. And it outlasts a change of the partitions, after
// which the same slot is in another one.
func TestWaitForOutlastsAResetAndAResize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	p := emptied{projection{name: "p"}, func(context.Context, pgx.Tx) error {
		held <- struct{}{}
		<-hold
		return nil
	}}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	a := b.appended(pool, "x", "y")
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", a))
	_, err := operator.Reset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	<-held
	waits := b.started(func() error { return rouse.WaitFor(b.ctx, pool, "p", a) })
	head := b.started(func() error { return rouse.WaitForHead(b.ctx, pool, "p") })
	require.Empty(t, waits)
	goOn()
	require.NoError(t, <-waits)
	require.NoError(t, <-head)
	require.ElementsMatch(t, a.Positions, b.done("p"))

	for _, partitions := range []int{64, 2, 1, 8} {
		a = b.appended(pool, "x")
		waits = b.started(func() error { return rouse.WaitFor(b.ctx, pool, "p", a) })
		_, err = operator.Resize(b.ctx, b.Pool, "p", partitions)
		require.NoError(t, err)
		require.NoError(t, <-waits)
		require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", a))
		require.Contains(t, b.done("p"), a.LastPosition())
	}
}

// trips counts the statements that a pool sends, and its connections.
type trips struct{ statements, connections atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (*trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (*trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// tripsOf opens a pool whose round trips are counted.
func (b *bundle) tripsOf(c *trips) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.Tracer, cfg.MaxConns = c, 4
	cfg.ConnConfig.RuntimeParams["application_name"] = "waits"
	cfg.AfterConnect = func(context.Context, *pgx.Conn) error { c.connections.Add(1); return nil }
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// A hundred that wait while nothing of theirs is handled share one connection and a handful of looks, however much else is handled.
func TestManyWhoWaitSendNothingInALoop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hold := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	hook := func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "slow" {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return nil
	}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{HandlerTimeout: -1, Projections: []rouse.Projection{projection{name: "p", hook: hook}}}).WaitStarted()
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{projection{name: "q"}}}).WaitStarted()
	var c trips
	pool := b.tripsOf(&c)
	waiter := rouse.NewWaiter(pool, rouse.WaiterConfig{})
	defer waiter.Close()
	require.NoError(t, waiter.WaitFor(b.ctx, "p", b.appended(b.Pool, "e")))
	slow := b.appended(b.Pool, "slow")
	const many = 100
	ended := make(chan error, many)
	for range many {
		go func() { ended <- waiter.WaitFor(b.ctx, "p", slow) }()
	}
	others := rouse.NewWaiter(b.Pool, rouse.WaiterConfig{})
	defer others.Close()
	for range 300 {
		require.NoError(t, others.WaitFor(b.ctx, "q", b.appended(b.Pool, "e")))
	}
	require.Empty(t, ended)
	goOn()
	for range many {
		require.NoError(t, <-ended)
	}
	require.EqualValues(t, 1, b.int("select count(*) from pg_stat_activity where application_name = 'waits' and datname = current_database() and query like 'listen %'"))
	t.Logf("%d round trips", c.statements.Load())
	// 20 to 40 where they come nearly at once; on a slow machine they come in groups. A look takes two. One for each who waits would be 200, one
	// for each event that others handle 600.
	require.Less(t, c.statements.Load(), int64(150), "round trips, from the first to the last")
	require.LessOrEqual(t, c.connections.Load(), int64(5), "the pool's, and one to listen on")
}

// Where it is not possible to listen, or the connection is lost, the waits look by themselves, and are told the same.
func TestWaitForWithoutAConnectionToListenOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fails := func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "bad" {
			return rouse.Permanent(errBroken)
		}
		return nil
	}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{selective{projection{name: "p"}}, projection{name: "q", hook: fails}}}).WaitStarted()
	b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{PollOnly: true, Projections: []rouse.Projection{projection{name: "polling"}}}).WaitStarted()
	deaf := rouse.NewWaiter(b.Pool, rouse.WaiterConfig{ListenConn: func(context.Context) (*pgx.ConnConfig, error) { return nil, errBroken }})
	defer deaf.Close()
	hears := rouse.NewWaiter(b.Pool, rouse.WaiterConfig{})
	defer hears.Close()
	for n := range 5 {
		for _, w := range []*rouse.Waiter{deaf, hears} {
			a := b.appended(b.Pool, "unwanted")
			for _, name := range []string{"p", "q", "polling"} {
				require.NoError(t, w.WaitFor(b.ctx, name, a))
				require.NoError(t, w.WaitForHead(b.ctx, name))
			}
			require.ErrorIs(t, w.WaitFor(b.ctx, "q", b.appended(b.Pool, "bad")), rouse.ErrParked)
		}
		if n%3 == 1 {
			b.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen %replies%'")
		}
	}
	closed := rouse.NewWaiter(b.Pool, rouse.WaiterConfig{})
	ended := b.started(func() error { return closed.WaitForPosition(b.ctx, "q", 1<<40) })
	require.NoError(t, closed.WaitForHead(b.ctx, "q"))
	closed.Close()
	require.Error(t, <-ended)
	require.Error(t, closed.WaitForHead(b.ctx, "q"))
}
