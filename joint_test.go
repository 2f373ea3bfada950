package rouse_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// These tests are of the transactions that several projections of a process share.

// gathering is where projections wait for each other: once all of them have the same event in hand, they go on at once.
type gathering struct {
	of   int
	mu   sync.Mutex              // protects the fields below
	at   map[int64]chan struct{} // by position; closed once all have come
	come map[int64]int           // by position: how many have
}

func newGathering(of int) *gathering {
	return &gathering{of: of, at: map[int64]chan struct{}{}, come: map[int64]int{}}
}

// wait returns when all have come to ev, or ctx ends.
func (m *gathering) wait(ctx context.Context, ev eventstore.Event) {
	m.mu.Lock()
	if m.at[ev.GlobalPosition] == nil {
		m.at[ev.GlobalPosition] = make(chan struct{})
	}
	all := m.at[ev.GlobalPosition]
	if m.come[ev.GlobalPosition]++; m.come[ev.GlobalPosition] == m.of {
		close(all)
	}
	m.mu.Unlock()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// together is a projection that queues its statements once all others of its gathering have the same event in hand.
type together struct {
	batched
	gathering *gathering // nil: it waits for nobody
}

func (p together) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	if p.gathering != nil {
		p.gathering.wait(ctx, events[0])
	}
	return p.batched.ApplyBatch(ctx, batch, events)
}

// togethers are n projections p00, p01, ... which queue as queue says, if it is not nil.
func togethers(n int, m *gathering, queue func(name string) func(batch *pgx.Batch, ev eventstore.Event) error) (all []rouse.Projection) {
	for i := range n {
		p := batched{projection: projection{name: fmt.Sprintf("p%02d", i)}}
		if queue != nil {
			p.queue = queue(p.name)
		}
		all = append(all, together{p, m})
	}
	return all
}

// saving counts the round trips that save checkpoints, and what was written to done in each.
type saving struct {
	mu    sync.Mutex // protects trips
	trips [][]string
}

func (s *saving) sent(sql ...string) {
	if slices.ContainsFunc(sql, func(s string) bool {
		return strings.Contains(s, "update") && strings.Contains(s, "projection_checkpoints")
	}) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trips = append(s.trips, sql)
	}
}

func (s *saving) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.trips)
}

// pool opens a pool of n connections that tells s what it sends.
func (s *saving) pool(b *bundle, n int32) *pgxpool.Pool {
	return b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns, cfg.ConnConfig.Tracer = n, testdb.Sent(s.sent) })
}

// An event that many projections handle costs a few transactions and a few connections, and not as many as there are projections. On a
// machine that is busy some of them come later to some events, but not to all.
func TestJoint_AnEventOfManyProjectionsIsFewTransactions(t *testing.T) {
	t.Parallel()
	const many, events = 50, 10
	b := setup(t)
	var s saving
	pool := s.pool(b, 2*many+1)
	w := b.start(pool, rouse.Config{Projections: togethers(many, newGathering(many), nil)}).WaitStarted()
	b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	fewest := many
	for range events {
		before := s.count()
		b.append("e")
		require.NoError(t, w.Drain(b.ctx))
		fewest = min(fewest, s.count()-before)
	}
	require.EqualValues(t, many*(events+1), b.int("select count(*) from done"))
	require.Less(t, fewest, many/3)
	require.LessOrEqual(t, int(pool.Stat().TotalConns()), max(many/2, 2*runtime.GOMAXPROCS(0)+4))
}

// Each projection handles every event once, while the sessions that they share are ended in the middle of a transaction.
func TestJoint_EveryProjectionHandlesEverythingOnceWhileSessionsEnd(t *testing.T) {
	t.Parallel()
	const many, events = 20, 30
	b := setup(t)
	var ended sync.Map // by position: a session was ended in it
	cfg := rouse.Config{Projections: togethers(many, nil, func(name string) func(batch *pgx.Batch, ev eventstore.Event) error {
		return func(batch *pgx.Batch, ev eventstore.Event) error {
			if name != "p07" || ev.GlobalPosition%3 > 0 {
				return nil
			}
			if _, was := ended.LoadOrStore(ev.GlobalPosition, true); !was {
				batch.Queue("select pg_terminate_backend(pg_backend_pid())")
			}
			return nil
		}
	})}
	first, second := b.start(b.smallPool(8), cfg).WaitStarted(), b.start(b.smallPool(8), cfg).WaitStarted()
	for range events {
		b.append("e")
	}
	for i := range many {
		name := fmt.Sprintf("p%02d", i)
		testdb.Eventually(t, patience, name+" to be done", func() (bool, error) {
			return b.int("select count(distinct position) from done where projection = $1", name) == events, nil
		})
	}
	first.MustStop()
	second.MustStop()
	require.EqualValues(t, many*events, b.int("select count(*) from done"), "nothing twice")
	require.Zero(t, b.int("select count(*) from parked_events"))
}

// What one projection cannot handle is set aside by it alone, and the others have handled it.
func TestJoint_OneThatFailsFailsForItselfAlone(t *testing.T) {
	t.Parallel()
	const many = 10
	b := setup(t)
	m := newGathering(many)
	projections := togethers(many, m, nil)
	fails := batched{projection: projection{name: "p03", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "bad" {
			return errBad
		}
		return nil
	}}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
		if ev.Type == "bad" {
			batch.Queue("select 1 / $1::int", 0)
		}
		return nil
	}}
	projections[3] = together{fails, m}
	var others atomic.Int64 // failures of them
	w := b.start(b.smallPool(20), rouse.Config{Projections: projections, Retry: rouse.RetryPolicy{Tries: 1}, Observer: rouse.Observer{
		Failed: func(projection string, _ int, _ error) {
			if projection != "p03" {
				others.Add(1)
			}
		},
	}}).WaitStarted()
	var at []int64
	for _, eventType := range []string{"e", "bad", "e"} { // one by one, so that all of them have the same in hand
		at = append(at, b.append(eventType))
		require.NoError(t, w.Drain(b.ctx))
	}
	for i := range many {
		name := fmt.Sprintf("p%02d", i)
		if name != "p03" {
			require.Equal(t, at, b.done(name))
		}
	}
	require.Equal(t, []int64{at[0], at[2]}, b.done("p03"))
	require.EqualValues(t, 1, b.int("select count(*) from parked_events where projection_name = 'p03' and global_position = $1", at[1]))
	require.EqualValues(t, 1, b.int("select count(*) from parked_events"))
	require.Zero(t, others.Load(), "of the others nothing has failed")
}

// A projection that waits for a lock holds up no other: the others go on while it waits.
func TestJoint_OneThatWaitsForALockHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const many = 10
	b := setup(t)
	b.exec("create table locked (id int primary key, n int not null)")
	b.exec("insert into locked values (1, 0)")
	w := b.start(b.smallPool(8), rouse.Config{
		Projections: togethers(many, nil, func(name string) func(batch *pgx.Batch, ev eventstore.Event) error {
			return func(batch *pgx.Batch, _ eventstore.Event) error {
				if name == "p00" {
					batch.Queue("update locked set n = n + 1 where id = 1")
				}
				return nil
			}
		}),
	}).WaitStarted()
	b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	tx, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(b.ctx, "update locked set n = n where id = 1")
	require.NoError(t, err)
	for range 5 {
		b.append("e")
	}
	for i := 1; i < many; i++ {
		b.waitDone(fmt.Sprintf("p%02d", i), 6)
	}
	require.Len(t, b.done("p00"), 1, "it still waits")
	require.NoError(t, tx.Rollback(b.ctx))
	require.NoError(t, w.Drain(b.ctx))
	require.Len(t, b.done("p00"), 6)
	require.EqualValues(t, 6, b.int("select n from locked"))
}

// hanging is an argument whose value comes once the test lets it.
type hanging struct {
	text string
	let  chan struct{}
}

func (h hanging) Value() (driver.Value, error) {
	<-h.let
	return h.text, nil
}

// An argument of one projection's statement that does not come to a value holds up that projection alone.
func TestJoint_OneWhoseArgumentHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const many = 6
	b := setup(t)
	lets := make(chan chan struct{}, 1)
	let := make(chan struct{})
	queue := func(name string) func(*pgx.Batch, eventstore.Event) error {
		if name != "p00" {
			return nil
		}
		return func(batch *pgx.Batch, _ eventstore.Event) error {
			batch.Queue("insert into done (projection, position) select $1::text, 0", hanging{"hangs", <-lets})
			return nil
		}
	}
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: togethers(many, newGathering(many), queue)}).WaitStarted()
	t.Cleanup(func() {
		select {
		case <-let:
		default:
			close(let)
		}
	})
	const events = 20
	for n := range events {
		let = make(chan struct{})
		lets <- let
		at := b.append("e")
		testdb.Eventually(t, patience, "all others to handle the event", func() (bool, error) {
			return b.int("select count(*) from done where position = $1 and projection <> 'p00'", at) == many-1, nil
		})
		require.EqualValues(t, n, b.int("select count(*) from done where projection = 'hangs'"))
		close(let)
		require.NoError(t, w.Drain(b.ctx))
		require.EqualValues(t, n+1, b.int("select count(*) from done where projection = 'hangs'"))
	}
}

// What the statements of one projection set, or leave on the session, does not meet those of another.
func TestJoint_WhatOneProjectionSetsIsNotThereForAnother(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a setting":         "select set_config('app.who', 'p00', true)",
		"a path":            "set local search_path = other, public",
		"a path by the way": "select other.leave()",
		"a table":           "create temporary table seen (projection text, setting text) on commit drop",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const many, events = 8, 3
			b := setup(t)
			b.exec("create table seen (projection text, setting text)")
			b.exec("create schema other")
			b.exec("create table other.seen (like public.seen)")
			b.exec(`create function other.leave() returns text language plpgsql as
				$$ begin return set_config('search_path', 'other, public', true); end $$`)
			w := b.start(b.smallPool(8), rouse.Config{
				Projections: togethers(many, newGathering(many), func(name string) func(batch *pgx.Batch, ev eventstore.Event) error {
					return func(batch *pgx.Batch, _ eventstore.Event) error {
						if name == "p00" {
							batch.Queue(sql)
						}
						batch.Queue("insert into seen values ($1, nullif(current_setting('app.who', true), ''))", name)
						return nil
					}
				}),
			}).WaitStarted()
			for range events {
				b.append("e")
				require.NoError(t, w.Drain(b.ctx))
			}
			require.EqualValues(t, events*(many-1), b.int("select count(*) from public.seen where projection <> 'p00' and setting is null"))
		})
	}
}

// One that has lost its partitions is refused alone; the others commit, and go on together.
func TestJoint_OneThatIsFencedTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	const many = 8
	b := setup(t)
	var f failures
	var fence atomic.Bool
	m := newGathering(many)
	w := b.start(b.smallPool(8), rouse.Config{
		Projections: togethers(many, m, func(name string) func(batch *pgx.Batch, ev eventstore.Event) error {
			return func(*pgx.Batch, eventstore.Event) error {
				if name == "p05" && fence.Swap(false) { // after the read, and before the save
					b.exec("update projection_checkpoints set epoch = epoch + 1 where projection_name = 'p05'")
				}
				return nil
			}
		}),
		Observer: f.observer(),
	}).WaitStarted()
	first := b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	fence.Store(true)
	second := b.append("e")
	require.NoError(t, w.Drain(b.ctx))
	for i := range many {
		require.Equal(t, []int64{first, second}, b.done(fmt.Sprintf("p%02d", i)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, 1, f.fenced, "only the one whose partitions have changed hands")
	require.Empty(t, f.errs)
}

// Every process locks in the same order, whoever has come first: the statements and the checkpoints are in that of the names.
func TestJoint_LocksInTheSameOrderEverywhere(t *testing.T) {
	t.Parallel()
	const many = 12
	b := setup(t)
	var mu sync.Mutex
	var orders [][]string
	pool := b.poolWith(func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Tracer = order(func(names []string) {
			mu.Lock()
			defer mu.Unlock()
			orders = append(orders, names)
		})
	})
	w := b.start(pool, rouse.Config{Projections: togethers(many, newGathering(many), nil)}).WaitStarted()
	for range 10 {
		b.append("e")
		require.NoError(t, w.Drain(b.ctx))
	}
	mu.Lock()
	defer mu.Unlock()
	longest := 0
	for _, names := range orders {
		require.True(t, slices.IsSorted(names), "%v", names)
		longest = max(longest, len(names))
	}
	require.Greater(t, longest, 1)
}

// order tells the projections whose doneSQL was sent in one batch.
type order func(names []string)

func (o order) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (o order) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (o order) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	var names []string
	for _, q := range data.Batch.QueuedQueries {
		if q.SQL == doneSQL {
			names = append(names, q.Arguments[0].(string))
		}
	}
	o(names)
	return ctx
}
func (o order) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (o order) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
