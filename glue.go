package rouse

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/projector"
	"github.com/rouse-es/rouse/internal/traits"
)

// This file alone knows both sides: the interfaces that users implement, and the structs that the packages in internal
// take. Data and calls cross here, and nowhere else.

// unit is one Projection or Effect in the terms of the packages in internal.
type unit struct {
	name    string
	handler apply.Handler
	types   catchup.Types
	start   Start
	unsaid  error                                      // what is returned if start is "" and the log has events; nil: it begins at the beginning
	reset   func(ctx context.Context, tx pgx.Tx) error // nil: the projection cannot be reset

	effect  bool
	version int                                        // at least 1
	tables  []string                                   // of the read model; none: the projection does not say
	create  func(ctx context.Context, tx pgx.Tx) error // makes them; nil: they are made like those that are live
}

// units returns one unit for each projection and effect of c. It queries each optional interface once. tell is called with events that a
// handler passes over because their types are not known.
func units(c Config, tell func(projection string, ev *eventstore.Event)) []unit {
	var all []unit
	for _, p := range c.Projections {
		p = telling(p, tell)
		u := c.unit(p.Name(), p, false)
		u.handler.Apply = p.Apply
		u.handler.AsyncCommit = !c.SyncCommit
		if batch, is := p.(BatchProjection); is {
			u.handler.ApplyBatch = batch.ApplyBatch
		}
		if resetter, is := as[Resetter](p); is {
			u.reset = resetter.Reset
		}
		if tabled, is := as[Tabled](p); is {
			u.tables = tabled.Tables()
		}
		if creator, is := as[Creator](p); is {
			u.create = creator.Create
		}
		all = append(all, u)
	}
	for _, e := range c.Effects {
		e = telling(e, tell)
		u := c.unit(e.Name(), e, true)
		u.unsaid = unsaidError{e}
		u.handler.Do = func(ctx context.Context, partition int, epoch int64, ev eventstore.Event) error {
			return e.Do(context.WithValue(ctx, leaseKey{}, Lease{Partition: partition, Epoch: epoch}), ev)
		}
		all = append(all, u)
	}
	return all
}

// unit returns the part of a unit that is the same for a Projection and an Effect.
func (c Config) unit(name string, handler any, effect bool) unit {
	onFailure := c.onFailure(handler)
	u := unit{name: name, effect: effect, version: versionOf(handler), start: c.StartFrom, handler: apply.Handler{
		Timeout: max(c.HandlerTimeout, 0), BatchTime: max(c.batchTime(handler), 0), OnFailure: apply.OnFailure(onFailure),
		Retry: c.retry(handler).withDefaults(effect, onFailure).retry(),
	}}
	if starter, is := as[Starter](handler); is {
		u.start = starter.StartFrom()
	}
	if typed, is := as[EventTyped](handler); is {
		u.types.Events = typed.EventTypes()
	}
	if typed, is := as[AggregateTyped](handler); is {
		u.types.Aggregates = typed.AggregateTypes()
	}
	return u
}

// versionOf returns the version of handler, 1 if it does not say one.
func versionOf(handler any) int {
	if versioned, is := as[Versioned](handler); is {
		return versioned.Version()
	}
	return 1
}

// shadow returns u as the shadow of a name, whose handler is told that it replays.
func (u unit) shadow(name string) unit {
	u.name, u.reset = name, nil
	if apply := u.handler.Apply; apply != nil {
		u.handler.Apply = func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
			return apply(context.WithValue(ctx, replayKey{}, true), tx, ev)
		}
	}
	if applyBatch := u.handler.ApplyBatch; applyBatch != nil {
		u.handler.ApplyBatch = func(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
			return applyBatch(context.WithValue(ctx, replayKey{}, true), batch, events)
		}
	}
	return u
}

// onFailure returns the policy of handler if it is a FailurePolicy, and that of c otherwise.
func (c Config) onFailure(handler any) OnFailure {
	if policy, is := as[FailurePolicy](handler); is {
		return policy.OnFailure()
	}
	return c.OnFailure
}

// retry returns the RetryPolicy of handler if it is a Retrier, and that of c otherwise.
func (c Config) retry(handler any) RetryPolicy {
	if retrier, is := as[Retrier](handler); is {
		return retrier.RetryPolicy()
	}
	return c.Retry
}

// batchTime returns the BatchTime of handler if it is a BatchTimed that says one, and that of c otherwise.
func (c Config) batchTime(handler any) time.Duration {
	if timed, is := as[BatchTimed](handler); is {
		if d := timed.BatchTime(); d != 0 {
			return d
		}
	}
	return c.BatchTime
}

// optional returns the value that may implement the optional interfaces: the Queuer inside a batched, otherwise handler
// itself.
func optional(handler any) any {
	if b, is := handler.(batched); is {
		return b.Queuer
	}
	return handler
}

// as returns handler as the optional interface T, and whether it is one.
func as[T any](handler any) (value T, is bool) {
	handler = optional(handler)
	if partial, some := handler.(traits.Partial); some && partial.Lacks(traits.Of[T]()) {
		return value, false
	}
	value, is = handler.(T)
	return value, is
}

// telling returns handler, a Projection or an Effect, as one that tells of events whose types it does not know, if it can.
func telling[H interface{ Name() string }](handler H, tell func(projection string, ev *eventstore.Event)) H {
	silent, can := any(handler).(traits.Telling)
	if !can {
		return handler
	}
	name := handler.Name()
	return silent.Telling(func(ev *eventstore.Event) { tell(name, ev) }).(H)
}

// sourceHooks returns the hooks of o that the process's Source calls.
func (o Observer) sourceHooks() catchup.SourceHooks {
	return catchup.SourceHooks{Woke: o.Woke, PushMissed: o.PushMissed, Blocked: o.Blocked}
}

// hooks returns the hooks of o that the Projector of projection calls. A hook is nil where the function of o is nil.
func (o Observer) hooks(projection string) projector.Hooks {
	var h projector.Hooks
	if o.Handled != nil {
		h.Handled = func(events int, took time.Duration) { o.Handled(projection, events, took) }
	}
	if o.Committed != nil {
		h.Committed = func(events []eventstore.Event) { o.Committed(projection, events) }
	}
	if o.Began != nil {
		h.Began = func(ctx context.Context, partitions []int, events []eventstore.Event) context.Context {
			return o.Began(ctx, Batch{Projection: projection, Partitions: partitions, Events: events})
		}
	}
	if o.Ended != nil {
		h.Ended = func(ctx context.Context, partitions []int, events []eventstore.Event, err error) {
			o.Ended(ctx, Batch{Projection: projection, Partitions: partitions, Events: events}, err)
		}
	}
	if o.Failed != nil {
		h.Failed = func(events int, err error) { o.Failed(projection, events, err) }
	}
	if o.GaveUp != nil {
		h.GaveUp = func(ev eventstore.Event, to apply.OnFailure, err error) { o.GaveUp(projection, ev, OnFailure(to), err) }
	}
	if o.Fenced != nil {
		h.Fenced = func(events int) { o.Fenced(projection, events) }
	}
	if o.VersionGap != nil {
		h.VersionGap = func(ev eventstore.Event, want int64) { o.VersionGap(projection, ev, want) }
	}
	if o.State != nil {
		h.State = func(state projector.State) { o.State(projection, State(state)) }
	}
	if o.Owns != nil {
		h.Owns = func(partitions []int) { o.Owns(projection, partitions) }
	}
	return h
}

// stoppedError returns err in the form that users receive: a StoppedError in place of the internal one, any other error
// unchanged.
func stoppedError(projection string, err error) error {
	var stopped *apply.StoppedError
	if !errors.As(err, &stopped) {
		return err
	}
	ev := stopped.Event
	return &StoppedError{
		Projection: projection, Position: ev.GlobalPosition, AggregateType: ev.AggregateType, AggregateID: ev.AggregateID,
		Version: ev.AggregateVersion, EventType: ev.Type, Err: stopped.Err,
	}
}
