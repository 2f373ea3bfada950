package apply

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

const (
	// goQueues is the maximum number of queues that one go takes up.
	goQueues = 100

	// goTime is how long a go lasts at most, apart from the try in hand, before new events get their turn again. It is less than
	// the time that owners get to notice a barrier (package projection), so that no effect is done while partitions are joined or
	// split, unless it takes that long by itself.
	goTime = 200 * time.Millisecond
)

// NextDue returns when to call RetryParked; ok is false if nothing waits for a try as far as is known.
func (a *Applier) NextDue() (at time.Time, ok bool) { return a.parked.nextDue() }

// LookForDue makes RetryParked due at once if anything is parked, because an operator may have asked for a retry.
func (a *Applier) LookForDue() { a.parked.dueIn(0) }

// RetryParked makes one go at the queues of parked events that are due, the first of them first, each in the order of its
// aggregate. Call it between two batches. It returns nil when a stop came between.
func (a *Applier) RetryParked(ctx, workCtx context.Context) error {
	began := time.Now()
	queues, asked, err := dueQueues(workCtx, a.run.tx.pool, a.checkpoints, goQueues)
	if err != nil {
		return err
	}
	a.parked.looked()
	if asked {
		a.parked.dueIn(0)
		if err := adoptParked(workCtx, a.run.tx.pool, a.checkpoints); err != nil {
			return err
		}
	}
	for _, q := range queues {
		if q.wait > 0 {
			a.parked.dueIn(q.wait)
			break
		}
		a.parked.dueIn(0) // it may have more, and others may be due beyond the limit
		if ctx.Err() != nil || time.Since(began) > goTime || !a.breaker.mayTry() {
			break
		}
		if err := a.retryQueue(ctx, workCtx, q.of, a.goRows); err != nil {
			return err
		}
	}
	return nil
}

// retryQueue tries the first rows of the queue of an aggregate: several together, most at most, as long as none of them was tried
// before, else one.
func (a *Applier) retryQueue(ctx, workCtx context.Context, of eventstore.Stream, most int) error {
	rows, err := readQueue(workCtx, a.run.tx.pool, a.checkpoints, of, most)
	if err != nil {
		return err
	}
	rows, gone := split(rows)
	if len(gone) > 0 {
		if err := a.takeOut(workCtx, gone); err != nil || len(rows) == 0 {
			return a.unlessDiscarded(err)
		}
	}
	if len(rows) == 0 { // somebody has discarded them
		return nil
	}
	first, policy := rows[0], a.run.handler.Retry
	if policy.spent(first.tries, first.died) {
		return a.unlessDiscarded(a.giveUpParked(workCtx, first.event, first.tries, first.cause()))
	}
	rows = untried(rows)
	noted, err := noteParked(workCtx, a.run.tx.pool, a.checkpoints.projection, rows, policy.Pause(first.tries+1))
	if err != nil {
		return err
	}
	if !noted { // the same
		return a.takeBack(workCtx, rows, 0)
	}
	began := time.Now()
	err = a.tryQueue(ctx, workCtx, rows)
	a.adapt(len(rows), time.Since(began))
	return err
}

// adapt changes how many rows a go takes of a queue by the time that it took with n.
func (a *Applier) adapt(n int, took time.Duration) {
	switch {
	case took > goTime:
		a.goRows = max(min(a.goRows, n)/2, 1)
	case took < goTime/4 && n == a.goRows:
		a.goRows = min(2*a.goRows, goRows)
	}
}

// tryQueue tries rows whose tries are written down: those of a projection together, and one after the other if that fails; those of
// an effect one after the other, each of them saved before the next.
func (a *Applier) tryQueue(ctx, workCtx context.Context, rows []queued) error {
	if len(rows) > 1 && a.run.handler.Do == nil {
		err := a.replay(workCtx, rows)
		if err == nil {
			return nil
		}
		if workCtx.Err() != nil || errors.Is(err, errDiscarded) || blameOf(err) == ofWorker {
			return a.endOfGo(workCtx, rows, err)
		}
		if blameOf(err) != ofTime {
			a.failed(eventsOf(rows), err)
		}
	}
	began := time.Now()
	for i := range rows {
		if i > 0 && (ctx.Err() != nil || time.Since(began) > goTime || !a.breaker.mayTry()) {
			return a.takeBack(workCtx, rows[i:], 0)
		}
		if err := a.replay(workCtx, rows[i:i+1]); err != nil {
			return a.failedAgain(workCtx, rows[i:], err)
		}
		delete(a.doubts, rows[i].event.GlobalPosition)
	}
	return nil
}

// failedAgain decides about the first of rows, whose try by itself has failed with err; the others were not tried.
func (a *Applier) failedAgain(workCtx context.Context, rows []queued, err error) error {
	row, behind := rows[0], rows[1:]
	at := row.event.GlobalPosition
	if workCtx.Err() != nil || errors.Is(err, errDiscarded) {
		return a.endOfGo(workCtx, rows, err)
	}
	switch blameOf(err) {
	case ofWorker:
		return a.endOfGo(workCtx, rows, err)
	case ofTime:
		delete(a.doubts, at)
		return a.deferAgain(workCtx, rows, err)
	case ofOthers:
		d := a.doubts[at]
		if d == nil {
			d = newDoubt(a.patience)
			a.doubts[at] = d
		}
		d.again()
		a.doubted(d, row.event, err)
		if !d.counts() {
			return a.takeBack(workCtx, rows, doubtPause)
		}
	}
	delete(a.doubts, at)
	a.hooks.Failed(1, err)
	if a.breaker.failed(&row.event, err, row.tries == 0) != counts {
		return a.takeBack(workCtx, rows, 0)
	}
	if err := a.takeBack(workCtx, behind, 0); err != nil {
		return err
	}
	tries := row.tries + 1
	then := a.run.handler.Retry.after(tries, 0, err)
	if !then.again {
		return a.unlessDiscarded(a.giveUpParked(workCtx, row.event, tries, err))
	}
	if err := failParked(workCtx, a.run.tx.pool, a.checkpoints.projection, row.event, Reason(err), then); err != nil {
		return err
	}
	a.parked.dueIn(then.pause)
	a.logTriedAgain(row.event, tries, then.pause, err)
	return nil
}

// endOfGo ends a go with an error that is not the event's: the tries are taken back, but for one from which the handler has not
// returned. It returns nil if somebody has discarded one of the events.
func (a *Applier) endOfGo(workCtx context.Context, rows []queued, err error) error {
	if hung := Hung(err); hung != nil {
		rows = slices.DeleteFunc(slices.Clone(rows), func(row queued) bool {
			return slices.ContainsFunc(hung.Events, func(ev eventstore.Event) bool { return ev.GlobalPosition == row.event.GlobalPosition })
		})
	}
	_ = a.takeBack(workCtx, rows, 0) // what the database does not hear now, the next session tells it
	return a.unlessDiscarded(err)
}

// unlessDiscarded returns err, or nil if it says that somebody has discarded one of the events.
func (a *Applier) unlessDiscarded(err error) error {
	if errors.Is(err, errDiscarded) {
		return nil
	}
	return err
}

// takeBack takes back the tries at rows that were not made, or that count for nothing. What is first is tried again after pause.
func (a *Applier) takeBack(workCtx context.Context, rows []queued, pause time.Duration) error {
	if len(rows) == 0 {
		return nil
	}
	a.parked.dueIn(pause)
	positions := positionsOf(rows)
	err := takeBackParked(context.WithoutCancel(workCtx), a.run.tx.pool, a.checkpoints.projection, positions, pause)
	if err != nil {
		a.untried.add(positions)
	}
	return err
}

// takeOut takes rows out of their queue whose events are no longer in the log.
func (a *Applier) takeOut(workCtx context.Context, rows []queued) error {
	if err := a.endQueue(workCtx, eventsOf(rows)); err != nil {
		return err
	}
	first := rows[0].event
	a.log.Warn().Int(keyEvents, len(rows)).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).
		Msg("parked events are no longer in the log, and are taken out of their queue")
	return nil
}

// giveUpParked leaves a parked event to people, or takes it out of the queue for good, as OnFailure says.
func (a *Applier) giveUpParked(workCtx context.Context, ev eventstore.Event, tries int, cause error) error {
	to := a.run.handler.OnFailure
	var err error
	if to == Skip {
		err = a.endQueue(workCtx, []eventstore.Event{ev})
	} else {
		to = Park // also where the policy was changed to Stop: the checkpoint has passed it
		err = failParked(workCtx, a.run.tx.pool, a.checkpoints.projection, ev, Reason(cause), verdict{})
	}
	if err != nil {
		return err
	}
	a.logGivenUp(ev, tries, to, cause)
	a.hooks.GaveUp(ev, to, cause)
	return nil
}

// here returns the save that leaves the checkpoint of events where it is and tests that their partition is still owned.
func (c *committer) here(events []eventstore.Event) catchup.Save {
	fence := c.checkpoints.fence(events[0])
	return c.checkpoints.save(c.checkpoints.touched(events), catchup.Mark{Position: fence.Floor, Event: fence.Event})
}

// endQueue takes the first events of a queue out of it, without handling them.
func (c *committer) endQueue(ctx context.Context, events []eventstore.Event) error {
	end := c.takes(events)
	return c.taken(end, c.run.tx.save(ctx, end))
}

// takes returns the end of a transaction that takes the first events of a queue out of it.
func (c *committer) takes(events []eventstore.Event) txEnd {
	return txEnd{done: events, more: new(bool), save: c.here(events), at: new(catchup.Saved), tell: c.checkpoints.telling(false)}
}

// taken forgets the aggregate of the events that end has taken out of their queue, if nothing is left of that.
func (c *committer) taken(end txEnd, err error) error {
	if err != nil {
		return c.explainFailure(end.done, err)
	}
	end.noteSpots(c.checkpoints.touched(end.done))
	if !*end.more {
		c.parked.forget(end.done[0])
	}
	return nil
}

// replay handles the first rows of a queue in one transaction that takes them out of it. The checkpoint stays where it is.
func (a *Applier) replay(workCtx context.Context, rows []queued) (err error) {
	events, began := eventsOf(rows), time.Now()
	for range transientTries {
		if err = a.replayOnce(workCtx, events); err == nil || a.run.handler.Do != nil || blameOf(err) != ofOthers || workCtx.Err() != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	a.breaker.succeeded()
	a.handled.Add(int64(len(events)))
	a.hooks.Handled(len(events), time.Since(began))
	a.hooks.Committed(events)
	a.log.Info().Int(keyEvents, len(events)).Str(keyAggregateType, events[0].AggregateType).Str(keyAggregateID, events[0].AggregateID).
		Msg("parked events are handled")
	return nil
}

// replayOnce is one attempt of replay. An effect is done before the transaction.
func (a *Applier) replayOnce(workCtx context.Context, events []eventstore.Event) error {
	end := a.takes(events)
	if a.run.handler.Do != nil {
		if err := a.do(workCtx, events[0], meanwhile{}); err != nil {
			return a.explainFailure(events, err)
		}
		return a.taken(end, a.run.tx.save(workCtx, end))
	}
	ctx, partitions := a.began(workCtx, events)
	err := a.taken(end, a.run.runParked(ctx, events, end))
	a.ended(ctx, partitions, events, err)
	return err
}
