package integration_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// TestStopInMidBatchBuriesNothing stops a worker while an effect is in the middle of a batch and the next batch is read
// already. What is left of the first batch has to come before anything of the second: a checkpoint saved for the second
// would bury it.
//
// The window is the time that a cancellation takes from the context that Run was given to the worker's own contexts:
// nanoseconds, or as long as a busy machine lets the thread wait that walks from one to the other. Here it is made wide.
func TestStopInMidBatchBuriesNothing(t *testing.T) {
	t.Parallel()
	const events, batch, stopAt = 60, 10, 5
	db := testdb.New(t)
	stressExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'order', 'order-1', n, 'Happened', '{}' from generate_series(1, 60) as n order by n`)

	// In each round it is chance whether the worker sees the stop or the next batch first.
	for round := range 10 {
		done := &doneVersions{name: fmt.Sprintf("effect_%d", round)}
		ctx := newLateContext()
		done.after = func(version int64) {
			switch version {
			case 1:
				pauseFor(t.Context(), 10*time.Millisecond) // for the next batch to be read, most of the time
			case stopAt:
				ctx.cancel()
			}
		}
		config := func() rouse.Config {
			return rouse.Config{Effects: []rouse.Effect{done}, BatchSize: batch, PollOnly: true}
		}
		first, err := rouse.New(db.Pool, config())
		require.NoError(t, err)
		require.NoError(t, first.Run(ctx))
		ctx.awaitChildren()

		done.after = func(int64) {}
		require.NoError(t, workertest.Drain(t, db.Pool, config()))
		require.Equal(t, events, done.different(), "events that were never handled, in round %d", round)
		assert.True(t, done.rising(), "events came out of order in round %d", round)
	}
}

// doneVersions is an effect that remembers which versions it has done.
type doneVersions struct {
	name  string
	after func(version int64)

	mu       sync.Mutex // protects versions
	versions []int64
}

func (d *doneVersions) Name() string { return d.name }

func (*doneVersions) StartFrom() rouse.Start { return rouse.Beginning }

func (d *doneVersions) Do(_ context.Context, ev eventstore.Event) error {
	d.mu.Lock()
	d.versions = append(d.versions, ev.AggregateVersion)
	d.mu.Unlock()
	d.after(ev.AggregateVersion)
	return nil
}

func (d *doneVersions) different() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[int64]bool{}
	for _, v := range d.versions {
		seen[v] = true
	}
	return len(seen)
}

// rising tells whether every version came right after the one before it or, where an effect is done again, not later.
func (d *doneVersions) rising() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := int64(0)
	for _, v := range d.versions {
		if v > last+1 {
			return false
		}
		last = v
	}
	return true
}

// lateContext is a context whose cancellation reaches the contexts made from it some time after itself.
type lateContext struct {
	context.Context
	cancelled chan struct{}
	is        atomic.Bool
	children  sync.WaitGroup
}

func newLateContext() *lateContext {
	return &lateContext{Context: context.Background(), cancelled: make(chan struct{})}
}

func (c *lateContext) cancel() {
	c.is.Store(true)
	close(c.cancelled)
}

func (c *lateContext) awaitChildren() { c.children.Wait() }

func (c *lateContext) Done() <-chan struct{} { return c.cancelled }

func (c *lateContext) Err() error {
	if c.is.Load() {
		return context.Canceled
	}
	return nil
}

// AfterFunc is how package context asks to be told of the cancellation, for the contexts that it makes from this one.
func (c *lateContext) AfterFunc(f func()) (stop func() bool) {
	stopped := make(chan struct{})
	var once sync.Once
	c.children.Go(func() {
		select {
		case <-stopped:
			return
		case <-c.cancelled:
		}
		pauseFor(context.Background(), 30*time.Millisecond)
		f()
	})
	return func() (first bool) {
		once.Do(func() { first = true; close(stopped) })
		return first
	}
}
