package apply

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/eventstore"
)

// queuesNothing makes a Handler one of the batch form.
func queuesNothing(context.Context, *pgx.Batch, []eventstore.Event) error { return nil }

// handled is the size of each of n batches of a handler that takes a time for each event.
func handled(p *Pace, n int, perEvent time.Duration) (sizes []int) {
	for range n {
		size := p.next()
		p.took(size, time.Duration(size)*perEvent)
		sizes = append(sizes, size)
	}
	return sizes
}

func TestPaceOfAFastHandlerIsWholeBatchesSoon(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{ApplyBatch: queuesNothing, BatchTime: time.Second, Timeout: 30 * time.Second}, 1000, 0)
	assert.Equal(t, []int{1, 8, 64, 512, 1000, 1000}, handled(p, 6, 20*time.Microsecond))
	p.took(3, time.Millisecond)
	assert.Equal(t, 1000, p.next(), "a batch that had no more events says nothing")
}

func TestPaceOfASlowHandlerStaysWithinItsTime(t *testing.T) {
	t.Parallel()
	for _, perEvent := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, time.Second, time.Minute} {
		p := NewPace(Handler{ApplyBatch: queuesNothing, BatchTime: time.Second, Timeout: 30 * time.Second}, 1000, 0)
		for _, size := range handled(p, 20, perEvent) {
			assert.LessOrEqual(t, time.Duration(size-1)*perEvent, time.Second, "%d events of %s", size, perEvent)
		}
		assert.GreaterOrEqual(t, time.Duration(p.next()+1)*perEvent, time.Second/3, "the time is used")
	}
}

func TestPaceFollowsAHandlerThatBecomesSlowAndFastAgain(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{ApplyBatch: queuesNothing, BatchTime: time.Second, Timeout: 30 * time.Second}, 1000, 0)
	handled(p, 5, 20*time.Microsecond)
	assert.Equal(t, []int{1000, 50, 50}, handled(p, 3, 20*time.Millisecond))
	assert.Equal(t, []int{50, 100, 200, 400, 800, 1000}, handled(p, 6, 20*time.Microsecond), "slower than at the start")
}

// A size that ran out of the handler's time does not come again, whatever smaller ones take: some statements take more time
// than their events have grown by.
func TestPaceDoesNotTryASizeAgainThatRanOutOfTime(t *testing.T) {
	t.Parallel()
	for name, batchTime := range map[string]time.Duration{"bounded": time.Second, "unbounded": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := NewPace(Handler{ApplyBatch: queuesNothing, BatchTime: batchTime, Timeout: 30 * time.Second}, 1000, 0)
				handled(p, 5, 20*time.Microsecond)
				p.timedOut(1000)
				assert.Equal(t, 500, p.next())
				p.timedOut(500)
				assert.Equal(t, []int{250, 250, 250}, handled(p, 3, 20*time.Microsecond))
				time.Sleep(ceilingRest + time.Second) // of the bubble's clock
				assert.Equal(t, []int{250, 500, 1000}, handled(p, 3, 20*time.Microsecond), "the cause may have passed")
			})
		})
	}
}

func TestPaceWithoutAnyTimeIsWholeBatches(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{ApplyBatch: queuesNothing}, 1000, 0)
	assert.Equal(t, []int{1000, 1000}, handled(p, 2, time.Hour))
	p.timedOut(1)
	assert.Equal(t, 1, p.next())
}

func TestBudgetIsOverByTimeByAStopAndByAChangeOfTheShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		b := newBudget(t.Context(), leave, time.Second)
		assert.False(t, b.over())
		time.Sleep(time.Second) // of the bubble's clock
		assert.True(t, b.over())
		assert.False(t, b.called())
		b = newBudget(t.Context(), leave, 0)
		time.Sleep(time.Hour)
		assert.False(t, b.over(), "it has no limit")
		close(leave)
		assert.True(t, b.over() && b.called())
		assert.False(t, (*budget)(nil).over())
	})
}

func TestBudgetCostsNoAllocation(t *testing.T) {
	b := newBudget(t.Context(), make(chan struct{}), time.Minute)
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.over() }))
}

// fast is the time of a handler for each event.
const fast = 2 * time.Microsecond

// Beyond the first size batches grow while they are fast. No such batch is followed by another one that takes longer than grownTime,
// as far as one can tell from the last.
func TestPaceGrowsBeyondTheFirstSizeWhileBatchesAreFast(t *testing.T) {
	t.Parallel()
	each := func(context.Context, pgx.Tx, eventstore.Event) error { return nil }
	for name, handler := range map[string]Handler{"": {}, "bounded": {BatchTime: time.Second, Timeout: 30 * time.Second}} {
		handler.ApplyBatch = queuesNothing
		p := NewPace(handler, 1000, 10_000)
		handled(p, 5, fast)
		assert.Equal(t, []int{10_000, 10_000}, handled(p, 2, fast), name)
		assert.Equal(t, []int{10_000, 2000, 2000}, handled(p, 3, 50*time.Microsecond), "%s: it has become slower", name)
		assert.Equal(t, []int{2000, 1000, 1000}, handled(p, 3, 200*time.Microsecond), "%s: never below the first size for that", name)
		assert.Equal(t, []int{1000, 8000, 10_000}, handled(p, 3, fast), name)

		handler.Apply, handler.ApplyBatch = each, nil
		assert.Equal(t, []int{1000, 8000, 10_000}, handled(NewPace(handler, 1000, 10_000), 3, fast), name)
		assert.Equal(t, []int{1000, 1000, 1000}, handled(NewPace(handler, 1000, 10_000), 3, time.Millisecond), name)
	}
}

// A save of many checkpoints is dear, so batches grow until each serves twenty events. What is configured stays, and so do effects.
func TestPaceGrowsWithTheCheckpointsOfASave(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{ApplyBatch: queuesNothing}, 1000, 10_000)
	assert.Equal(t, 10_000, p.Widen(32))
	assert.Equal(t, 20_480, p.Widen(1024))
	assert.Equal(t, []int{1000, 8000, 20_480, 20_480}, handled(p, 4, fast))
	assert.Equal(t, 10_000, p.Widen(32), "they belong to another worker now")
	assert.Equal(t, []int{10_000, 10_000}, handled(p, 2, fast))
	assert.Equal(t, 500, NewPace(Handler{ApplyBatch: queuesNothing}, 500, 0).Widen(1024), "a size that is configured")
	effect := NewPace(Handler{Do: func(context.Context, int, int64, eventstore.Event) error { return nil }}, 1000, 10_000)
	assert.Equal(t, 1000, effect.Widen(1024))
}

// After a failure, which halves a batch until the event is found, batches are of the first size again.
func TestPaceAfterAFailureIsTheFirstSize(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{BatchTime: time.Second, ApplyBatch: queuesNothing}, 1000, 10_000)
	handled(p, 6, fast)
	assert.Equal(t, 10_000, p.next())
	p.failed()
	assert.Equal(t, []int{1000, 2000, 4000}, handled(p, 3, fast))
}

// Batches of an effect do not grow: after a crash they are done again.
func TestPaceOfAnEffectIsTheFirstSize(t *testing.T) {
	t.Parallel()
	p := NewPace(Handler{BatchTime: time.Second, Do: func(context.Context, int, int64, eventstore.Event) error { return nil }}, 1000, 10_000)
	assert.Equal(t, []int{1000, 1000, 1000}, handled(p, 3, fast))
}
