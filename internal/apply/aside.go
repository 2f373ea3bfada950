package apply

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// keyPauseMS is how long until the next try, in milliseconds.
const keyPauseMS = "pause_ms"

// failedAlone decides about an event at the checkpoint whose try by itself has failed with cause and counts; tries counts that
// one, and from the last died of them no handler has returned. It is set aside until its next try, or given up. It is the one
// place where a first failure is decided.
func (a *Applier) failedAlone(ctx context.Context, ev eventstore.Event, tries, died int, cause error) error {
	handler := &a.run.handler
	then := handler.Retry.after(tries, died, cause)
	if !then.again {
		return a.giveUp(ctx, ev, tries, handler.OnFailure, cause)
	}
	if err := a.setAside(ctx, parking{event: ev, tries: tries, died: died, err: Reason(cause), then: then}); err != nil {
		return err
	}
	a.logTriedAgain(ev, tries, then.pause, cause)
	return nil
}

// setAside sets the event of p aside, in the transaction that moves the checkpoint past it.
func (a *Applier) setAside(ctx context.Context, p parking) error {
	b := a.prepare([]eventstore.Event{p.event})
	b.end.park = []parking{p}
	if err := a.conclude(b, 0, a.run.tx.save(ctx, b.end)); err != nil {
		return err
	}
	a.parked.add(p.event)
	if p.then.again {
		a.parked.dueIn(p.then.pause)
	}
	return nil
}

// passOver moves the checkpoint past an event that is not handled.
func (a *Applier) passOver(ctx context.Context, ev eventstore.Event) error {
	b := a.prepare([]eventstore.Event{ev})
	return a.conclude(b, 0, a.run.tx.save(ctx, b.end))
}

// logTriedAgain says that an event has failed by itself and will be tried again.
func (a *Applier) logTriedAgain(ev eventstore.Event, tries int, pause time.Duration, cause error) {
	a.log.Warn().Err(cause).Int(keyAttempts, tries).Int64(keyPauseMS, pause.Milliseconds()).Int64(keyPosition, ev.GlobalPosition).
		Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Msg("an event is set aside until its next try; later events of its aggregate wait behind it")
}

// logGivenUp says that an event was parked or skipped.
func (a *Applier) logGivenUp(ev eventstore.Event, tries int, to OnFailure, cause error) {
	log := a.log.With().Int(keyAttempts, tries).Int64(keyPosition, ev.GlobalPosition).
		Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).Logger()
	if to == Park {
		log.Error().Err(cause).Msg("an event is parked, because its handler cannot handle it; later events of its aggregate wait behind it (see rouse parked)")
	} else {
		log.Error().Err(cause).Msg("an event is skipped, because its handler cannot handle it, or because somebody asked for that")
	}
}
