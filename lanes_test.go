package rouse_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// meeting counts who is inside at once.
type meeting struct {
	mu           sync.Mutex
	inside, most int
	by           map[string]int // inside, by aggregate
	met          chan struct{}  // closed when so many were inside at once
	want         int
}

func (m *meeting) visit(ctx context.Context, ev eventstore.Event) error {
	m.mu.Lock()
	m.inside++
	m.by[ev.AggregateID]++
	together := m.by[ev.AggregateID]
	if m.inside > m.most {
		m.most = m.inside
		if m.most == m.want {
			close(m.met)
		}
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.inside--
		m.by[ev.AggregateID]--
	}()
	if together > 1 {
		return fmt.Errorf("%d handlers for one aggregate", together)
	}
	select { // whoever comes first waits for the others
	case <-m.met:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Three handlers are in three partitions at the same time, and never two in one aggregate.
func TestConcurrentHandlersShareABatchByPartitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var statement string
	for range 3 {
		for a := range 20 {
			statement += fmt.Sprintf(",('thing', 'a%d', (select coalesce(max(aggregate_version), 0) + 1 from events where aggregate_id = 'a%d'), 'happened', '{}')", a, a)
		}
		b.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values " + statement[1:])
		statement = ""
	}
	m := &meeting{by: map[string]int{}, met: make(chan struct{}), want: 3}
	worker := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "p", hook: func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error { return m.visit(ctx, ev) }}},
		Concurrency: 3,
	}).WaitStarted()
	require.NoError(t, worker.Drain(b.ctx))
	require.Equal(t, 3, m.most)
	require.EqualValues(t, 60, b.int("select count(distinct position) from done"))
	require.EqualValues(t, 60, b.int("select count(*) from done"))
	require.Zero(t, b.int(`select count(*) from (select e.aggregate_version - lag(e.aggregate_version, 1, 0::bigint) over (partition by aggregate_id order by d.n) step
		from done d join events e on e.global_position = d.position) s where step <> 1`), "in order within each aggregate")
}

// One of the handlers fails: what the others have done stays done, and the failing event alone stops the projection.
func TestConcurrentHandlersFailAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good := b.appendAll("good", "good", "good", "good", "good", "good", "good", "good")
	bad := b.append("bad")
	err := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "bad" {
				return fmt.Errorf("no")
			}
			return nil
		}}},
		Concurrency: 4, Retry: rouse.RetryPolicy{Tries: 2}, OnFailure: rouse.Stop,
		BatchTime: -1, // or a round of a slow machine ends with events that no handler has had
	}).Wait()
	var stopped *rouse.StoppedError
	require.ErrorAs(t, err, &stopped)
	require.Equal(t, bad, stopped.Position)
	require.ElementsMatch(t, good, b.done("p"))
}

// An effect learns under which lease it is called. The epoch rises when the partition changes hands, and on graceful moves
// nothing is done twice.
func TestEffectKnowsItsLease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type call struct {
		rouse.Lease
		position int64
	}
	calls := make(chan call, 1000)
	effect := leasedEffect{name: "e", do: func(ctx context.Context, ev eventstore.Event) error {
		lease, ok := rouse.LeaseOf(ctx)
		if !ok || lease.Partition != int(ev.Slot)%32 {
			return fmt.Errorf("lease %v of slot %d", lease, ev.Slot)
		}
		calls <- call{lease, ev.GlobalPosition}
		return nil
	}}
	_, ok := rouse.LeaseOf(b.ctx)
	require.False(t, ok)
	first := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Effects: []rouse.Effect{effect}}).WaitStarted()
	for range 50 {
		b.append("x")
	}
	second := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Effects: []rouse.Effect{effect}}).WaitStarted()
	for range 50 {
		b.append("x")
	}
	_ = first.Stop()
	for range 50 {
		b.append("x")
	}
	testdb.Eventually(t, patience, "everything to be done", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where last_global_position = (select max(global_position) from events)") == 32, nil
	})
	_ = second.Stop()
	close(calls)
	epochs, times := map[int]int64{}, map[int64]int{}
	for c := range calls {
		require.GreaterOrEqual(t, c.Epoch, epochs[c.Partition])
		epochs[c.Partition] = c.Epoch
		times[c.position]++
	}
	require.Len(t, times, 150)
	for position, n := range times {
		require.Equal(t, 1, n, "position %d", position)
	}
}

type leasedEffect struct {
	name string
	do   func(ctx context.Context, ev eventstore.Event) error
}

func (e leasedEffect) Name() string         { return e.name }
func (leasedEffect) StartFrom() rouse.Start { return rouse.Beginning }

func (e leasedEffect) Do(ctx context.Context, ev eventstore.Event) error { return e.do(ctx, ev) }
