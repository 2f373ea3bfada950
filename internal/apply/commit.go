package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

// transientTries is how often a batch is tried as a whole when only other transactions prevent it.
const transientTries = 3

// committer makes one transaction at a time and keeps what follows from its outcome: checkpoints, attempts, parked
// aggregates. It decides nothing: what is tried, how often and what becomes of a failure is up to the Applier. Its methods
// may be used by several goroutines, each for partitions of its own.
type committer struct {
	run         runner
	pace        *Pace // nil: batches are as they come
	breaker     *Breaker
	checkpoints *Checkpoints
	attempts    attempts
	parked      parkedAggregates
	handled     *atomic.Int64
	hooks       Hooks
	log         zerolog.Logger
}

// batch is one attempt at events: the end of its transaction, and the state that conclude updates by its outcome.
type batch struct {
	events  []eventstore.Event
	touched []*catchup.Fence // of the partitions of events
	end     txEnd
	began   time.Time
}

// prepare returns an attempt at events, of which there is at least one. Its transaction ends by forgetting their
// attempts and moving their checkpoints to the last of them.
func (c *committer) prepare(events []eventstore.Event) batch {
	touched := c.checkpoints.touched(events)
	return batch{events: events, touched: touched, began: time.Now(), end: txEnd{
		forget: c.attempts.among(events),
		save:   c.checkpoints.save(touched, markOf(&events[len(events)-1])),
		at:     new(catchup.Saved),
		tell:   c.checkpoints.telling(c.checkpoints.alone),
	}}
}

// upTo returns the batch of the first n events of b. The attempts of the others are forgotten too: they were written down
// for this transaction, and the rest was not tried.
func (c *committer) upTo(b batch, n int) batch {
	if n == len(b.events) {
		return b
	}
	cut := c.prepare(b.events[:n])
	cut.end.forget, cut.began = b.end.forget, b.began
	return cut
}

// conclude updates checkpoints, attempts and hooks after the transaction of b has committed; handled is the number of
// its events that were handled and not parked or skipped. If err is not nil, it returns its explanation instead.
func (c *committer) conclude(b batch, handled int, err error) error {
	if err != nil {
		return c.explainFailure(b.events, err)
	}
	c.checkpoints.moved(b.touched, b.end)
	c.attempts.forget(b.end.forget)
	c.attempts.clear(b.events, c.checkpoints)
	if handled > 0 {
		c.breaker.succeeded()
	}
	c.handled.Add(int64(handled))
	took := time.Since(b.began)
	c.hooks.Handled(handled, took)
	if handled == len(b.events) {
		c.hooks.Committed(b.events)
	}
	c.log.Debug().Int(keyEvents, handled).Int64(keyPosition, b.end.save.To).Float64(keyTookMS, float64(took.Microseconds())/1000).Msg("batch handled")
	return nil
}

// explainFailure returns err with its meaning: a broken fence as ErrLeaseLost, and a HungError with events.
func (c *committer) explainFailure(events []eventstore.Event, err error) error {
	if blameOf(err) == ofWorker && errors.Is(err, catchup.ErrFenced) {
		c.hooks.Fenced(len(events))
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	if hung := Hung(err); hung != nil && hung.Events == nil {
		hung.Events = events
	}
	return err
}

// commit handles events and saves, in one transaction, and returns how many of the first it has handled when left was
// over: at least one. It tries up to transientTries times if only other transactions prevent it.
func (c *committer) commit(ctx context.Context, left *budget, events []eventstore.Event) (done int, err error) {
	for range transientTries {
		if done, err = c.commitBatch(ctx, left, events, false); err == nil || !isConflict(err) {
			return done, err
		}
	}
	return done, err
}

// commitBatch makes one attempt at events, in one transaction: behind parked events where some may belong there, one
// event after the other if each is true or the handler has no batch form, and pipelined otherwise. It returns how many of
// the first events are done.
func (c *committer) commitBatch(ctx context.Context, left *budget, events []eventstore.Event, each bool) (done int, err error) {
	ctx, partitions := c.began(ctx, events)
	b := c.prepare(events)
	handled := len(events)
	upTo := func(n int) txEnd { b = c.upTo(b, n); return b.end }
	switch behind := c.parked.among(events); {
	case behind != nil:
		var still aggregates
		if still, handled, err = c.run.runBehindParked(ctx, left, events, upTo, behind); err == nil {
			c.parked.keep(behind, still)
		}
	case each || c.run.handler.ApplyBatch == nil:
		handled, err = c.run.runEach(ctx, left, events, upTo)
	default:
		err = c.run.runPipelined(ctx, events, b.end)
	}
	if c.run.handler.ApplyBatch == nil || !each {
		c.keepPace(b, err)
	}
	err = c.conclude(b, handled, err)
	c.ended(ctx, partitions, b.events, err)
	return len(b.events), err
}

// keepPace tells the pace how the attempt b went.
func (c *committer) keepPace(b batch, err error) {
	switch {
	case c.pace == nil:
	case err == nil:
		c.pace.took(len(b.events), time.Since(b.began))
	case c.run.handler.ApplyBatch != nil && ranOut(err):
		c.pace.timedOut(len(b.events))
	case blameOf(err) != ofWorker && blameOf(err) != ofTime:
		c.pace.failed()
	}
}

// ranOut reports whether err says that a call of the handler exceeded Handler.Timeout, and returned.
func ranOut(err error) bool { return errors.Is(err, errTimeout) && blameOf(err) == ofEvent }

// began calls the hook Began and returns its context, with the partitions of events. It does nothing where neither
// Began nor Ended is set.
func (c *committer) began(ctx context.Context, events []eventstore.Event) (_ context.Context, partitions []int) {
	if c.hooks.Began == nil && c.hooks.Ended == nil {
		return ctx, nil
	}
	for _, fence := range c.checkpoints.touched(events) {
		partitions = append(partitions, fence.Partition)
	}
	slices.Sort(partitions)
	if c.hooks.Began != nil {
		ctx = c.hooks.Began(ctx, partitions, events)
	}
	return ctx, partitions
}

// ended calls the hook Ended with the outcome of an attempt.
func (c *committer) ended(ctx context.Context, partitions []int, events []eventstore.Event, err error) {
	if c.hooks.Ended != nil {
		c.hooks.Ended(ctx, partitions, events, err)
	}
}

// AdvanceIdle moves the checkpoints of partitions that had no events on to the position of to, up to which everything is
// handled.
func (c *committer) AdvanceIdle(ctx context.Context, to catchup.Mark) error {
	return c.advance(ctx, c.checkpoints.behind(to.Position), to)
}

// AdvanceOld is AdvanceIdle for those that were not saved since a time, or that are below position low.
func (c *committer) AdvanceOld(ctx context.Context, to catchup.Mark, since time.Time, low int64) error {
	return c.advance(ctx, c.checkpoints.old(to.Position, since, low), to)
}

// advance moves the checkpoints of partitions without events on, if there are any.
func (c *committer) advance(ctx context.Context, behind []*catchup.Fence, to catchup.Mark) error {
	if len(behind) == 0 {
		return nil
	}
	end := txEnd{save: c.checkpoints.save(behind, to), at: new(catchup.Saved), tell: c.checkpoints.telling(true)}
	if p := c.run.joint.part(nil, nil, end, &c.run.tx, c.run.apart); p == nil || !c.run.joint.commit(ctx, p) {
		if err := c.run.tx.save(ctx, end); err != nil {
			return err
		}
	}
	c.checkpoints.moved(behind, end)
	return nil
}
