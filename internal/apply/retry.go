package apply

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// Keys of log fields; units are in the name.
const (
	keyPosition      = "position"
	keyAggregateType = "aggregate_type"
	keyAggregateID   = "aggregate_id"
	keyEvents        = "events"
	keyAttempts      = "attempts"
	keyTookMS        = "took_ms"
)

// applyLane handles events in order until left is over or the breaker opens: an event with a written try by itself, the
// events between two such as one batch. It returns how many of the first are saved.
func (a *Applier) applyLane(ctx, workCtx context.Context, left *budget, events []eventstore.Event) (done int, err error) {
	for tries := 0; done < len(events) && ctx.Err() == nil && a.breaker.mayTry() && (tries == 0 || !left.over()); tries++ {
		rest := events[done:]
		n := a.attempts.first(rest)
		switch {
		case n < 0:
			n, err = a.tryBatch(ctx, workCtx, left, rest)
		case n > 0:
			n, err = a.tryBatch(ctx, workCtx, left, rest[:n])
		default:
			n, err = a.trySingle(ctx, workCtx, left, rest[0])
		}
		if done += n; errors.Is(err, errWaiting) {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// tryBatch handles events as one batch, up to the size that the pace allows and until left is over, and returns how many
// of the first are saved. A try is written down first at the events that may have killed the last owner.
func (a *Applier) tryBatch(ctx, workCtx context.Context, left *budget, events []eventstore.Event) (done int, err error) {
	if a.pace != nil {
		events = events[:min(len(events), a.pace.next())]
	}
	err = a.suspecting(workCtx, a.attempts.suspected(events, a.checkpoints), func() (err error) {
		if a.run.handler.Do != nil {
			done, err = a.doEach(ctx, workCtx, left, events)
		} else {
			done, err = a.tryWhole(ctx, workCtx, left, events)
		}
		return err
	})
	return done, err
}

// tryWhole handles events in one transaction. If that fails and an event may be the cause, the batch is halved until the
// event is found, so that the good events are not held up: about 2 log n transactions for one bad event among n. A batch that
// fails only as a whole is handled in halves; one that took too long as a whole is no event's fault, and left to smaller ones.
// If the session was lost alone, one of the events may have that effect, as one that a process died of: all are noted first.
func (a *Applier) tryWhole(ctx, workCtx context.Context, left *budget, events []eventstore.Event) (done int, err error) {
	done, cause := a.commit(workCtx, left, events)
	switch {
	case cause == nil:
		return done, nil
	case workCtx.Err() != nil || blameOf(cause) == ofWorker:
		return 0, cause
	case a.tooLarge(events, cause):
		return 0, nil
	case blameOf(cause) == ofTime:
		return a.narrow(ctx, workCtx, left, events, cause)
	}
	if len(events) > 1 || a.run.handler.ApplyBatch != nil || a.run.handler.OnFailure == Stop {
		a.failed(events, cause)
	}
	var suspects []eventstore.Event
	if isLostAlone(cause) {
		suspects = a.unnoted(events)
	}
	err = a.suspecting(workCtx, suspects, func() (err error) {
		done, err = a.halve(ctx, workCtx, left, events, cause)
		return err
	})
	return done, err
}

// suspecting calls try, before which it writes down a try at each of suspects. Those that were neither handled nor tried by
// themselves when it returns were not found to be at fault: an outage, a stop or the end of the time came between. Their tries are
// taken back.
func (a *Applier) suspecting(workCtx context.Context, suspects []eventstore.Event, try func() error) (err error) {
	if len(suspects) == 0 {
		return try()
	}
	defer func() {
		hung := Hung(err)
		spared := slices.DeleteFunc(a.attempts.hasPending(suspects), func(ev eventstore.Event) bool {
			return hung != nil && slices.ContainsFunc(hung.Events, func(at eventstore.Event) bool { return at.GlobalPosition == ev.GlobalPosition })
		})
		if backErr := a.takeTriesBack(workCtx, err == nil, spared...); err == nil {
			err = backErr
		}
	}()
	if err := a.attempts.notePending(workCtx, suspects); err != nil {
		a.untold.add(suspects...)
		return err
	}
	return try()
}

// takeTriesBack takes back a try at each of events that is written down and has no verdict. now says that the session goes on, so
// that the database is told at once; otherwise it is before the next one.
func (a *Applier) takeTriesBack(ctx context.Context, now bool, events ...eventstore.Event) error {
	if len(events) == 0 {
		return nil
	}
	a.untold.add(events...)
	if !now {
		return nil
	}
	for _, ev := range events {
		a.attempts.unnote(ev)
	}
	return a.untold.TakeBack(ctx, a.run.tx.pool, a.checkpoints.projection)
}

// trySingle handles one event by itself, with as many tries as it takes.
// It returns how many events are saved: one, or none when a stop came between.
func (a *Applier) trySingle(ctx, workCtx context.Context, left *budget, ev eventstore.Event) (done int, err error) {
	one := []eventstore.Event{ev}
	if a.run.handler.Do != nil {
		return a.doEach(ctx, workCtx, left, one)
	}
	err = a.retry(ctx, workCtx, ev, nil, func() error { _, err := a.commitBatch(workCtx, nil, one, true); return err })
	return savedOne(err), err
}

// savedOne returns how many events of one are saved if handling it returned err.
func savedOne(err error) int {
	if err != nil {
		return 0
	}
	return 1
}

// narrow handles events, a batch that has failed with cause: around the one that the handler wants later, if it has said which, and
// otherwise by halves.
func (a *Applier) narrow(ctx, workCtx context.Context, left *budget, events []eventstore.Event, cause error) (done int, err error) {
	if i := deferredAt(events, cause); i >= 0 {
		return a.aroundDeferred(ctx, workCtx, left, events, i, cause)
	}
	return a.halve(ctx, workCtx, left, events, cause)
}

// halve handles the two halves of a batch that has failed with cause, and halves those that fail. It returns how many of the
// first events are saved when left was over.
func (a *Applier) halve(ctx, workCtx context.Context, left *budget, events []eventstore.Event, cause error) (done int, err error) {
	if len(events) == 1 {
		err = a.tryLast(ctx, workCtx, events[0], cause)
		return savedOne(err), err
	}
	middle := len(events) / 2
	for _, half := range [][]eventstore.Event{events[:middle], events[middle:]} {
		n, err := a.commit(workCtx, left, half)
		switch {
		case err == nil:
		case workCtx.Err() == nil && blameOf(err) != ofWorker:
			n, err = a.narrow(ctx, workCtx, left, half, err)
		default:
			n = 0
		}
		done += n
		if err != nil || n < len(half) || left.called() {
			return done, err
		}
	}
	return done, nil
}

// tryLast handles the last event of a batch that was halved until it, and that has failed with cause. That was a try by itself,
// unless the batch form was called.
func (a *Applier) tryLast(ctx, workCtx context.Context, ev eventstore.Event, cause error) error {
	if a.run.handler.ApplyBatch != nil && blameOf(cause) != ofService && blameOf(cause) != ofTime {
		cause = nil
	}
	one := []eventstore.Event{ev}
	return a.retry(ctx, workCtx, ev, cause, func() error { _, err := a.commitBatch(workCtx, nil, one, true); return err })
}

// failed reports a failed attempt to the hooks and the log.
func (a *Applier) failed(events []eventstore.Event, err error) {
	a.hooks.Failed(len(events), err)
	first := events[0]
	a.log.Warn().Err(err).Int(keyEvents, len(events)).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).Msg("handling failed, trying again")
}

// retry makes a try at ev by itself. A failure that counts sets the event aside until its next try, in RetryParked, or gives it up;
// tried, if it is not nil, is such a failure that has just been. Under Stop all others wait, with growing pauses, until it succeeds,
// the worker has to stop, or the event is given up. Under Stop, and where the process may have died of the event, the try is written
// down before it is made, and taken back if it ends without a verdict. What others may be the cause of is tried again for a while,
// and then sets the event aside too, without counting; an outage is returned.
func (a *Applier) retry(ctx, workCtx context.Context, ev eventstore.Event, tried error, try func() error) error {
	stop := a.run.handler.OnFailure == Stop
	doubt := newDoubt(a.patience)
	untold := false // a try is written down that has no verdict yet
	defer func() {
		if untold {
			a.untold.add(ev)
		}
	}()
	if tried != nil && blameOf(tried) == ofOthers {
		tried = nil
	}
	for {
		ahead := a.attempts.takePending(ev)
		before, noted := a.attempts.of(ev)
		if ahead {
			before.times--
		}
		if over, err := a.endSpent(workCtx, ev, before); over {
			return err
		}
		untold = ahead
		err := tried
		if tried == nil || stop && blameOf(tried) != ofService && blameOf(tried) != ofTime {
			if untold = noted || stop; untold && !ahead {
				if err := a.attempts.note(workCtx, []eventstore.Event{ev}); err != nil {
					return err
				}
			}
			err = a.tryUntilTold(ctx, workCtx, ev, doubt, try)
		}
		tried = nil
		switch {
		case err == nil || Hung(err) != nil:
			untold = false
			return err
		case workCtx.Err() != nil || blameOf(err) == ofWorker || ctx.Err() != nil && blameOf(err) == ofOthers:
			return err
		case blameOf(err) == ofOthers && !doubt.counts():
			untold = false
			return a.setAside(workCtx, parking{event: ev, tries: before.times, err: Reason(err), then: verdict{again: true, pause: doubtPause}})
		case blameOf(err) == ofTime: // under Stop too: nothing has failed, and nobody can wait for it in its place
			if err = a.deferEvent(workCtx, ev, before, err); err == nil {
				untold = false
			}
			return err
		}
		written := untold
		untold = false
		if r := a.rule(ev, before, err); r != counts {
			return a.uncounted(workCtx, ev, before, written, r, err)
		}
		if !stop {
			return a.failedAlone(workCtx, ev, before.times+1, 0, err)
		}
		if err := a.holdUp(ctx, workCtx, ev, before.times+1, err); err != nil {
			return err
		}
	}
}

// endSpent ends an event that is to have no further try: an operator has it skipped, or it has failed too often. Else over is false.
func (a *Applier) endSpent(ctx context.Context, ev eventstore.Event, before attempt) (over bool, err error) {
	stop := a.run.handler.OnFailure == Stop
	switch {
	case before.skip && before.old:
		return true, a.passOver(ctx, ev)
	case before.skip:
		return true, a.giveUp(ctx, ev, before.times, Skip, errSkipped)
	case stop && a.run.handler.Retry.spent(before.times, 0):
		return true, a.giveUp(ctx, ev, before.times, Stop, before.cause())
	case !stop && before.times > 1: // the first may have been at a whole batch
		return true, a.failedAlone(ctx, ev, before.times, before.times, before.cause())
	}
	return false, nil
}

// holdUp holds up, under Stop, all events behind ev, which has failed times times, until ev is to be tried again, or gives ev up. An error
// means that ev is not to be tried.
func (a *Applier) holdUp(ctx, workCtx context.Context, ev eventstore.Event, times int, cause error) error {
	a.attempts.set(ev, attempt{times: times, err: Reason(cause)})
	then := a.run.handler.Retry.after(times, 0, cause)
	if !then.again {
		return a.giveUp(workCtx, ev, times, Stop, cause)
	}
	a.hooks.Retrying()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(then.pause):
		return nil
	}
}

// tryUntilTold calls try until it succeeds or fails in a way that others are not the cause of, or has failed in other ways for as long
// as ev may keep its place. A stop ends it too, with the last error.
func (a *Applier) tryUntilTold(ctx, workCtx context.Context, ev eventstore.Event, doubt *doubt, try func() error) error {
	for {
		err := try()
		if err == nil || workCtx.Err() != nil || blameOf(err) != ofOthers {
			return err
		}
		pause := doubt.again()
		var again restoreError
		if !errors.As(err, &again) {
			a.doubted(doubt, ev, err)
			if doubt.counts() || a.mayYield(err) && doubt.lasted() >= doubtInPlace {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// giveUp parks or skips an event that cannot be handled, or returns the StoppedError that stops the projection before
// it.
func (a *Applier) giveUp(ctx context.Context, ev eventstore.Event, times int, to OnFailure, cause error) error {
	if to == Stop {
		// A worker that is started anew tries anew.
		if err := a.attempts.forgetInDatabase(ctx, ev); err != nil {
			a.log.Warn().Err(err).Msg("cannot forget the attempts at the event that stops the projection")
		}
		return &StoppedError{Event: ev, Err: cause}
	}
	var err error
	if to == Park {
		err = a.setAside(ctx, parking{event: ev, tries: times, err: Reason(cause)})
	} else {
		err = a.passOver(ctx, ev)
	}
	if err != nil {
		return err
	}
	a.logGivenUp(ev, times, to, cause)
	a.hooks.GaveUp(ev, to, cause)
	return nil
}

// doEach does the events of an effect one after the other until left is over, and returns how many of the first are
// saved. It saves those that are done at the end, before a failing event is tried again, and when the time of left is over, also
// while a call goes on.
func (a *Applier) doEach(ctx, workCtx context.Context, left *budget, events []eventstore.Event) (saved int, err error) {
	due, stop := left.ends()
	defer stop()
	for i, ev := range events {
		if i > 0 && left.over() {
			return a.saveUpTo(workCtx, events, saved, i)
		}
		_, noted := a.attempts.of(ev)
		behind := a.parked.among(events[i : i+1])
		var err error
		if !noted && behind == nil {
			var saveErr error
			err = a.do(workCtx, ev, meanwhile{due, func() { saved, saveErr = a.saveUpTo(workCtx, events, saved, i) }})
			if saveErr != nil {
				return saved, saveErr
			}
			if err == nil {
				continue
			}
		}
		var saveErr error
		if saved, saveErr = a.saveUpTo(workCtx, events, saved, i); saveErr != nil {
			return saved, saveErr
		}
		if err != nil && (workCtx.Err() != nil || Hung(err) != nil) {
			return saved, err
		}
		if gone, err := a.doAgain(ctx, workCtx, ev, behind, err); err != nil || !gone {
			return saved, err
		}
		saved = i + 1
	}
	return a.saveUpTo(workCtx, events, saved, len(events))
}

// doAgain does one event of an effect that has failed before, with tried if that was just now, or sets it aside if it belongs
// behind another one, and saves. gone is false if the worker has to stop before that.
func (a *Applier) doAgain(ctx, workCtx context.Context, ev eventstore.Event, behind aggregates, tried error) (gone bool, err error) {
	one := []eventstore.Event{ev}
	if behind != nil {
		b := a.prepare(one)
		still, err := a.run.park(workCtx, ev, b.end, behind)
		if err == nil || errors.Is(err, errFreed) {
			a.parked.keep(behind, still)
		}
		if err = a.conclude(b, 0, err); !errors.Is(err, errFreed) {
			return err == nil, err
		}
	}
	if tried != nil && a.run.handler.OnFailure == Stop && blameOf(tried) != ofTime {
		a.failed(one, tried)
	}
	err = a.retry(ctx, workCtx, ev, tried, func() error { return a.do(workCtx, ev, meanwhile{}) })
	if err != nil || a.checkpoints.Passed(&ev) { // given up, and saved with that
		return err == nil, err
	}
	if err = a.saveDone(workCtx, one); err != nil {
		a.untold.add(one...) // it is done, and may be done once more
	}
	return true, err
}
