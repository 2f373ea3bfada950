package projection

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// New returns a projection of handlers, one for each Go type of events: On, Queue and Ignore. These types are registered (package events), and
// the projection reads the events of their types and no others, unless it has the option Unknown.
//
//	var shop = projection.New("shop",
//		projection.Queue(func(b *pgx.Batch, e OrderPlaced, ev eventstore.Event) error {
//			b.Queue("insert into orders (id, cents) values ($1, $2)", ev.AggregateID, e.Cents)
//			return nil
//		}),
//		projection.Tables("orders"))
//
// If all handlers are Queue (and Ignore), the result is a rouse.BatchProjection, which is many times faster over a history. Handlers are called
// at the same time as those of a rouse.Projection are, and under its rules.
//
// An event whose payload no registered type fits is given to OnFailure at once (rouse.Permanent); one of a version above the registered one is
// tried again like any other failure, because a newer program may soon be there.
//
// New panics, with one sentence that says what to do, where the program cannot be right: no name, no handlers, two of one type, a type that is
// not registered before, an option given twice or meant for effects.
func New(name string, options ...Option) rouse.Projection {
	m := build("New", name, false, options)
	if m.queues {
		return queued{m}
	}
	return applied{m}
}

// NewEffect returns an effect of handlers, one for each Go type of events: Do and Ignore. It is otherwise as New says. An effect has to say where
// it begins if there are events already: StartFrom(rouse.Now), for example.
func NewEffect(name string, options ...Option) rouse.Effect {
	return effect{build("NewEffect", name, true, options)}
}

// On is the handler of the events that are an E, as rouse.Projection.Apply is one: f writes through tx and must not end it. ev has what e does
// not: the aggregate, the id, the position, the time.
func On[E any](f func(ctx context.Context, tx pgx.Tx, e E, ev eventstore.Event) error) Option {
	return handling[E]("On", onProjection, f == nil, func(t events.Type[E]) handler {
		return handler{apply: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
			e, err := t.Decode(ev)
			if err != nil {
				return refused(err)
			}
			return f(ctx, tx, e, ev)
		}}
	})
}

// Queue is the handler of the events that are an E, as rouse.Queuer.Queue is one: f queues statements and does not send them.
func Queue[E any](f func(b *pgx.Batch, e E, ev eventstore.Event) error) Option {
	return handling[E]("Queue", onProjection, f == nil, func(t events.Type[E]) handler {
		return handler{queue: func(b *pgx.Batch, ev eventstore.Event) error {
			e, err := t.Decode(ev)
			if err != nil {
				return refused(err)
			}
			return f(b, e, ev)
		}}
	})
}

// Do is the handler of the events that are an E in an effect, as rouse.Effect.Do is one: it works outside the database, at least once.
func Do[E any](f func(ctx context.Context, e E, ev eventstore.Event) error) Option {
	return handling[E]("Do", onEffect, f == nil, func(t events.Type[E]) handler {
		return handler{do: func(ctx context.Context, ev eventstore.Event) error {
			e, err := t.Decode(ev)
			if err != nil {
				return refused(err)
			}
			return f(ctx, e, ev)
		}}
	})
}

// Ignore says that the events that are an E are known and change nothing. They are read and passed over, so that the projection can be waited for
// with each of them (rouse.WaitFor), and need no decoding.
func Ignore[E any]() Option {
	return handling[E]("Ignore", onBoth, false, func(events.Type[E]) handler { return handler{} })
}

// handler has the form of one handler; it is empty for what is ignored.
type handler struct {
	apply func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
	queue func(b *pgx.Batch, ev eventstore.Event) error
	do    func(ctx context.Context, ev eventstore.Event) error
}

// chosen is a handler before it is known which events it handles.
type chosen struct {
	verb    string
	goType  reflect.Type
	missing bool
	find    func(registry *events.Registry) (handler handler, names []string, err error)
}

// handling returns the Option of a handler of E.
func handling[E any](verb string, of target, missing bool, make func(t events.Type[E]) handler) Option {
	return func(d *draft) {
		d.aim(verb+"["+reflect.TypeFor[E]().String()+"]", of)
		d.chosen = append(d.chosen, chosen{verb: verb, goType: reflect.TypeFor[E](), missing: missing,
			find: func(registry *events.Registry) (handler, []string, error) {
				t, err := events.TypeOf[E](registry)
				if err != nil {
					return handler{}, nil, err
				}
				return make(t), t.Names(), nil
			}})
	}
}

// made is what New and NewEffect make: handlers by the types of events, and what was said beside them.
type made struct {
	said
	name     string
	registry *events.Registry
	handlers map[string]handler
	queues   bool                       // every handler queues
	tell     func(ev *eventstore.Event) // of events of unknown types; nil: nobody is told
}

// build makes what verb, which is New or NewEffect, returns.
func build(verb, name string, effect bool, options []Option) *made {
	refuse := func(format string, args ...any) {
		panic(fmt.Sprintf("projection: %s(%q) ", verb, name) + fmt.Sprintf(format, args...))
	}
	if strings.TrimSpace(name) == "" {
		refuse("needs a name, under which its checkpoints are kept and which never changes")
	}
	d := draft{effect: effect, registry: events.Default}
	for _, option := range options {
		option(&d)
	}
	if fault := d.fault(); fault != "" {
		refuse("%s", fault)
	}
	m := &made{said: d.said, name: name, registry: d.registry, handlers: map[string]handler{}, queues: true}
	for _, c := range d.chosen {
		h, names, err := c.find(d.registry)
		if err != nil {
			refuse("handles %s, which is not registered: call events.Register before it (of package variables, those of imported packages and those above it in the file come first)", c.goType)
		}
		m.queues = m.queues && h.apply == nil && h.do == nil
		for _, n := range names {
			m.handlers[n] = h
		}
	}
	return m
}

// Name returns the name of the checkpoints.
func (m *made) Name() string { return m.name }

// EventTypes returns the types of events that have a handler, or none, which is all of them, if it is said what becomes of unknown ones.
func (m *made) EventTypes() []string {
	if m.unknown != 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m.handlers))
}

// telling returns m for one worker, which is told of events of unknown types.
func (m *made) telling(tell func(ev *eventstore.Event)) *made {
	told := *m
	told.tell = tell
	return &told
}

// strange returns what becomes of ev, which has no handler.
func (m *made) strange(ev eventstore.Event) error {
	if m.unknown == 0 || m.registry.Knows(ev.Type) {
		return nil
	}
	if m.unknown == Refuse {
		return rouse.Permanent(fmt.Errorf("%w: events of type %s (add events.Register for it, and a handler to projection %s)", ErrUnknown, ev.Type, m.name))
	}
	if m.tell != nil {
		passed := ev // so that events with a handler stay off the heap
		m.tell(&passed)
	}
	return nil
}

// applied is a rouse.Projection whose handlers are On, or On and Queue.
type applied struct{ *made }

// Apply handles one event.
func (p applied) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	h, has := p.handlers[ev.Type]
	switch {
	case !has:
		return p.strange(ev)
	case h.apply != nil:
		return h.apply(ctx, tx, ev)
	case h.queue == nil:
		return nil
	}
	return rouse.Batched(one{p.name, h}).Apply(ctx, tx, ev)
}

// Telling returns p for one worker.
func (p applied) Telling(tell func(ev *eventstore.Event)) any { return applied{p.telling(tell)} }

// one is the rouse.Queuer of a single handler.
type one struct {
	name string
	handler
}

// Name returns the name of the projection.
func (o one) Name() string { return o.name }

// Queue queues the statements of one event.
func (o one) Queue(batch *pgx.Batch, ev eventstore.Event) error { return o.queue(batch, ev) }

// queued is a rouse.BatchProjection and a rouse.Queuer, whose handlers are Queue.
type queued struct{ *made }

// Apply sends the statements of one event.
func (p queued) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	return rouse.Batched(p).Apply(ctx, tx, ev)
}

// ApplyBatch queues the statements of events in order.
func (p queued) ApplyBatch(ctx context.Context, batch *pgx.Batch, all []eventstore.Event) error {
	return rouse.Batched(p).ApplyBatch(ctx, batch, all)
}

// Queue queues the statements of one event.
func (p queued) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	h, has := p.handlers[ev.Type]
	switch {
	case !has:
		return p.strange(ev)
	case h.queue == nil:
		return nil
	}
	return h.queue(batch, ev)
}

// Telling returns p for one worker.
func (p queued) Telling(tell func(ev *eventstore.Event)) any { return queued{p.telling(tell)} }

// effect is a rouse.Effect whose handlers are Do.
type effect struct{ *made }

// Do does the work of one event.
func (e effect) Do(ctx context.Context, ev eventstore.Event) error {
	h, has := e.handlers[ev.Type]
	switch {
	case !has:
		return e.strange(ev)
	case h.do == nil:
		return nil
	}
	return h.do(ctx, ev)
}

// Telling returns e for one worker.
func (e effect) Telling(tell func(ev *eventstore.Event)) any { return effect{e.telling(tell)} }

// StartLine returns the option that says where e begins.
func (effect) StartLine(start string) string { return "projection.StartFrom(rouse." + start + ")" }
