package apply

import (
	"context"
	"errors"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// leastDeferral is how long an event is set aside at least whose handler wants it later. It keeps a handler that names a time in the past
// again and again from doing nothing else.
const leastDeferral = time.Second

// notBeforeError is what a handler returns that wants its event no earlier than a time.
type notBeforeError struct{ at time.Time }

// Error says the time, in UTC.
func (e notBeforeError) Error() string { return "rouse: not before " + e.at.UTC().Format(time.RFC3339) }

// NotBefore returns an error by which a handler says that it wants the event again at a time and no earlier.
func NotBefore(at time.Time) error { return notBeforeError{at} }

// NotBeforeOf returns the time that err wants to be waited for; ok is false if it wants none.
func NotBeforeOf(err error) (at time.Time, ok bool) {
	var later notBeforeError
	if !errors.As(err, &later) {
		return time.Time{}, false
	}
	return later.at, true
}

// deferred is what a handler has returned that wants an event of a batch later, and which event that is.
type deferred struct {
	error
	position int64
}

func (e deferred) Unwrap() error { return e.error }
func (deferred) whose() blame    { return ofTime }

// Deferring returns err, which a handler has returned for ev among other events. If it wants ev later, the event need not be searched for.
func Deferring(err error, ev *eventstore.Event) error {
	if err == nil || (told{err}).whose() != ofTime {
		return err
	}
	return deferred{err, ev.GlobalPosition}
}

// deferredAt returns which of events cause is about, -1 if that is not known.
func deferredAt(events []eventstore.Event, cause error) int {
	var d deferred
	if blameOf(cause) == ofTime && errors.As(cause, &d) {
		for i := range events {
			if events[i].GlobalPosition == d.position {
				return i
			}
		}
	}
	return -1
}

// untilDue returns how long an event is set aside whose handler has returned err. The clock is that of the handler, which has compared
// the time with it; the database adds the pause to its own.
func untilDue(err error) time.Duration {
	at, _ := NotBeforeOf(err)
	return max(time.Until(at), leastDeferral)
}

// deferEvent sets an event at the checkpoint aside, whose handler has returned cause: it is tried at its time. before is what was
// counted before, and stays.
func (a *Applier) deferEvent(ctx context.Context, ev eventstore.Event, before attempt, cause error) error {
	pause := untilDue(cause)
	if err := a.setAside(ctx, parking{event: ev, tries: before.times, then: verdict{again: true, pause: pause}}); err != nil {
		return err
	}
	a.logDeferred(ev, pause)
	return nil
}

// deferAgain leaves the first of rows, a queue, aside until another time, as its handler wants, and takes all tries at them back.
func (a *Applier) deferAgain(workCtx context.Context, rows []queued, cause error) error {
	pause := untilDue(cause)
	a.parked.dueIn(pause)
	positions := positionsOf(rows)
	if err := deferParked(context.WithoutCancel(workCtx), a.run.tx.pool, a.checkpoints.projection, positions, pause); err != nil {
		a.untried.add(positions)
		return err
	}
	a.logDeferred(rows[0].event, pause)
	return nil
}

// aroundDeferred handles what is before the event at index i, which the handler wants later as it has said with cause, sets this aside,
// and returns how many of the first events are gone. Where one of its aggregate was set aside before it, by another outcome than before,
// it is left: it belongs behind that one, and only the first of a queue has a time.
func (a *Applier) aroundDeferred(ctx, workCtx context.Context, left *budget, events []eventstore.Event, i int, cause error) (done int, err error) {
	if i > 0 {
		if done, err = a.tryWhole(ctx, workCtx, left, events[:i]); err != nil || done < i || left.called() {
			return done, err
		}
		if a.parked.among(events[i:i+1]) != nil {
			return done, nil
		}
	}
	err = a.tryLast(ctx, workCtx, events[i], cause)
	return done + savedOne(err), err
}

// logDeferred says that an event waits for its time.
func (a *Applier) logDeferred(ev eventstore.Event, pause time.Duration) {
	a.log.Debug().Int64(keyPauseMS, pause.Milliseconds()).Int64(keyPosition, ev.GlobalPosition).
		Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Msg("an event waits for the time that its handler has named; later events of its aggregate wait behind it")
}
