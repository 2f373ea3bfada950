package apply

import (
	"context"
	"errors"

	"github.com/rouse-es/rouse/eventstore"
)

// errWaiting means that the breaker has opened, and that an event keeps its place for a trial.
var errWaiting = errors.New("rouse: waiting for what the handler depends on")

// rule reports a failure of ev by itself to the hooks, and asks the breaker what becomes of it; before is what was counted
// before.
func (a *Applier) rule(ev eventstore.Event, before attempt, err error) ruling {
	if a.run.handler.OnFailure == Stop && blameOf(err) != ofService {
		a.failed([]eventstore.Event{ev}, err)
	} else {
		a.hooks.Failed(1, err)
	}
	return a.breaker.failed(&ev, err, before.times == 0)
}

// uncounted takes the try at ev back, which has failed with cause and counts for nothing; noted says that it is written down,
// and before what there was before it. An event that stays is left where it is, with errWaiting. One that yields is set aside, due at once: nothing that is set aside is tried before the breaker closes,
// but for a trial.
func (a *Applier) uncounted(ctx context.Context, ev eventstore.Event, before attempt, noted bool, r ruling, cause error) error {
	if r == stays {
		if noted {
			if err := a.takeTriesBack(ctx, true, ev); err != nil {
				return err
			}
		}
		return errWaiting
	}
	return a.setAside(ctx, parking{event: ev, tries: before.times, err: Reason(cause), then: verdict{again: true}})
}

// Trial tries one event although the breaker is open, to find out whether what the handler depends on is back: the one that
// has kept its place, or else the first of rest, which are the next events of their partitions, or one that was set aside.
// Where nothing is left that waits, the breaker closes. Call it once Breaker.TrialIn is 0, while nothing else is tried; leave
// is as for Apply.
func (a *Applier) Trial(ctx, workCtx context.Context, leave <-chan struct{}, rest []eventstore.Event) error {
	left := newBudget(ctx, leave, goTime)
	left.breaker = a.breaker
	kept := a.breaker.beginTrial()
	defer a.breaker.endTrial()
	// A try may find out nothing: the event belongs behind another one, or can never be handled, or somebody has discarded it.
	for ; !left.over() && a.breaker.tries(); kept = (place{}) {
		one, inPlace := a.candidate(rest, kept)
		var err error
		switch {
		case kept.position != 0 && !inPlace && a.parked.has(kept.of):
			err = a.retryQueue(ctx, workCtx, kept.of, 1)
		case one != nil:
			_, err = a.applyLane(ctx, workCtx, left, one)
		default:
			err = a.tryAside(ctx, workCtx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tryAside makes a trial of the event that was set aside and has not been tried for longest. Where none is due, the breaker
// closes.
func (a *Applier) tryAside(ctx, workCtx context.Context) error {
	queues, _, err := dueQueues(workCtx, a.run.tx.pool, a.checkpoints, 1)
	if err != nil {
		return err
	}
	if len(queues) == 0 || queues[0].wait > 0 {
		a.breaker.giveIn()
		return nil
	}
	return a.retryQueue(ctx, workCtx, queues[0].of, 1)
}

// candidate returns the event of rest to try: the one that has kept its place, if no other of its partition comes before it,
// and else the first; inPlace says which. nil: all are saved.
func (a *Applier) candidate(rest []eventstore.Event, kept place) (one []eventstore.Event, inPlace bool) {
	passed := map[int]bool{} // partitions of which an event is left before
	first := -1
	for i := range rest {
		ev := &rest[i]
		if a.checkpoints.Passed(ev) {
			continue
		}
		if first < 0 {
			first = i
		}
		p := a.checkpoints.partition(*ev)
		if ev.GlobalPosition == kept.position && !passed[p] {
			return rest[i : i+1], true
		}
		passed[p] = true
	}
	if first < 0 {
		return nil, false
	}
	return rest[first : first+1], false
}
