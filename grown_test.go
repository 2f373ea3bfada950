package rouse_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// tally is a batch projection that writes down each event, in one statement, and remembers the sizes of its batches.
type tally struct {
	projection
	bad  int64 // the position that fails, in both forms
	mu   *sync.Mutex
	seen *[]int // the sizes of its batches; protected by mu
}

var errTally = errors.New("this event is bad")

func (p tally) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	positions := make([]int64, len(events))
	p.mu.Lock()
	*p.seen = append(*p.seen, len(events))
	p.mu.Unlock()
	for i, ev := range events {
		if positions[i] = ev.GlobalPosition; ev.GlobalPosition == p.bad {
			return errTally
		}
	}
	batch.Queue("insert into done (projection, position) select $1, unnest($2::bigint[])", p.name, positions)
	return nil
}

func newTally(name string, bad int64) tally {
	fails := func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.GlobalPosition == bad {
			return errTally
		}
		return nil
	}
	return tally{projection: projection{name: name, hook: fails}, bad: bad, mu: new(sync.Mutex), seen: new([]int)}
}

// appendMany appends n events of 100 aggregates.
func (b *bundle) appendMany(n int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', (i % 100)::text, 1 + i / 100, 'e', '{}' from generate_series(0, $1::int - 1) as i`, n)
}

// Where no size is configured batches grow while more events wait, and with one they do not.
func TestBatchSize_GrowsOnlyWhereItIsNotConfigured(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendMany(30_000)
	grows, fixed := newTally("grows", 0), newTally("fixed", 0)
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{grows}}))
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{fixed}, BatchSize: rouse.DefaultBatchSize}))
	for _, p := range []tally{grows, fixed} {
		require.EqualValues(t, 30_000, b.int("select count(distinct position) from done where projection = '"+p.name+"'"))
	}
	most := func(sizes []int) (most int) {
		for _, n := range sizes {
			most = max(most, n)
		}
		return most
	}
	require.Greater(t, most(*grows.seen), rouse.DefaultBatchSize)
	require.LessOrEqual(t, most(*grows.seen), 10_000)
	require.Equal(t, rouse.DefaultBatchSize, most(*fixed.seen))
}

// An event that fails in a large batch is the only one to blame, and all others are handled, each once.
func TestBatchSize_OneEventOfALargeBatchIsToBlame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendMany(30_000)
	const bad = 12_345
	p := newTally("p", bad)
	var mu sync.Mutex
	var gaveUp []int64
	failed := 0
	cfg := rouse.Config{
		Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1},
		Observer: rouse.Observer{
			Failed: func(_ string, events int, _ error) { mu.Lock(); failed = max(failed, events); mu.Unlock() },
			GaveUp: func(_ string, ev eventstore.Event, _ rouse.OnFailure, _ error) {
				mu.Lock()
				gaveUp = append(gaveUp, ev.GlobalPosition)
				mu.Unlock()
			},
		},
	}
	w := b.start(b.Pool, cfg).WaitStarted()
	behind := b.int("select count(*) from events where global_position > $1 and aggregate_id = (select aggregate_id from events where global_position = $1)", int64(bad))
	b.waitDone("p", 30_000-1-behind)
	w.MustStop()
	require.Greater(t, failed, rouse.DefaultBatchSize, "the batch was a large one")
	require.Equal(t, []int64{bad}, gaveUp)
	require.EqualValues(t, 1, b.int("select count(*) from parked_events where attempts > 0"))
	require.EqualValues(t, behind+1, b.int("select count(*) from parked_events"))
	require.Equal(t, b.int("select count(*) from done"), b.int("select count(distinct position) from done"))
}

// A batch that has grown takes no longer than a fraction of the time of one that has not: a handler that is slow keeps its size.
func TestBatchSize_DoesNotGrowWhereBatchesAreSlow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendMany(15_000)
	p := newTally("p", 0)
	slow := slowTally{p}
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{slow}}))
	for _, n := range *p.seen {
		require.LessOrEqual(t, n, rouse.DefaultBatchSize)
	}
}

// slowTally is a tally whose statements take 150 us for each event.
type slowTally struct{ tally }

func (p slowTally) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	batch.Queue("select pg_sleep($1)", (time.Duration(len(events)) * 150 * time.Microsecond).Seconds())
	return p.tally.ApplyBatch(ctx, batch, events)
}
