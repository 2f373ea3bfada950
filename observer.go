package rouse

import (
	"context"
	"slices"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// Observer is told what happens in a Worker. Each function may be nil. They are called on the worker's own goroutines, some
// of them at the same time, and must not wait.
type Observer struct {
	// Handled is told of every committed batch: how many events it had and how long it took from its first statement on.
	Handled func(projection string, events int, took time.Duration)

	// Committed is told of the events of every committed batch of which none was set aside behind a parked one. They must
	// not be kept or changed.
	Committed func(projection string, events []eventstore.Event)

	// Began is told of every attempt at events in one transaction, and at every event of an Effect, and returns the context
	// that the attempt gets. Ended is told how it ended, with that context; nil: the transaction is committed, or the Effect
	// done. With Config.Concurrency there are several at once.
	Began func(ctx context.Context, b Batch) context.Context
	Ended func(ctx context.Context, b Batch, err error)

	// Failed is told of every failed attempt, with the events' number and the cause.
	Failed func(projection string, events int, err error)

	// GaveUp is told of an event that could not be handled and was parked or skipped, with the cause.
	GaveUp func(projection string, ev eventstore.Event, what OnFailure, err error)

	// Fenced is told when a batch was rolled back because a partition had changed hands or the database had crashed.
	Fenced func(projection string, events int)

	// VersionGap is told of an aggregate whose version jumped: want was due, and the event has another one. Once per
	// aggregate, and not while a projection with EventTypes or AggregateTypes is far behind. Something writes versions that it should not, or the append trigger was off.
	VersionGap func(projection string, ev eventstore.Event, want int64)

	// State is told of every change of a projection's state.
	State func(projection string, state State)

	// Mode is told of every change of the push mode: quiet, torrent, polling or deaf.
	Mode func(mode string)

	// Owns is told of the partitions that the worker owns of a projection, whenever it has claimed anew, and of none when it
	// has given them up or may not rely on them any more. They must not be kept or changed.
	Owns func(projection string, partitions []int)

	// Woke is told what ended each sleep of the reader: WakePush, WakePoll or WakeProbe.
	Woke func(source string)

	// PushMissed is told of a read that found events although the push, which stood and was proven, had not told of them, nor
	// did within a second. Some may go untold. Nothing is lost by it: polling has found them.
	PushMissed func()

	// Blocked is told of every read that met committed events behind a hole that an append which is still open may fill.
	Blocked func()
}

// What ends the sleep of a reader.
const (
	WakePush  = "push"  // the notification of an append
	WakePoll  = "poll"  // it was time to look anyway; also every read in a torrent
	WakeProbe = "probe" // the listener has changed its mode, or Health wanted to know whether the reader lives
)

// Batch is what a handler is given in one attempt.
type Batch struct {
	Projection string
	Partitions []int              // that the events are in, rising
	Events     []eventstore.Event // at least one; not to be kept or changed
}

func (o Observer) handled(projection string, events int, took time.Duration) {
	if o.Handled != nil {
		o.Handled(projection, events, took)
	}
}

func (o Observer) failed(projection string, events int, err error) {
	if o.Failed != nil {
		o.Failed(projection, events, err)
	}
}

func (o Observer) gaveUp(projection string, ev eventstore.Event, what OnFailure, err error) {
	if o.GaveUp != nil {
		o.GaveUp(projection, ev, what, err)
	}
}

func (o Observer) fenced(projection string, events int) {
	if o.Fenced != nil {
		o.Fenced(projection, events)
	}
}

func (o Observer) state(projection string, state State) {
	if o.State != nil {
		o.State(projection, state)
	}
}

func (o Observer) committed(projection string, events []eventstore.Event) {
	if o.Committed != nil {
		o.Committed(projection, events)
	}
}

func (o Observer) owns(projection string, partitions []int) {
	if o.Owns != nil {
		o.Owns(projection, partitions)
	}
}

func (o Observer) woke(source string) {
	if o.Woke != nil {
		o.Woke(source)
	}
}

func (o Observer) pushMissed() {
	if o.PushMissed != nil {
		o.PushMissed()
	}
}

func (o Observer) blocked() {
	if o.Blocked != nil {
		o.Blocked()
	}
}

// observed tells the observer of an attempt at events. It costs nothing where nobody wants to know.
func (s *session) observed(ctx context.Context, events []eventstore.Event, attempt func(ctx context.Context) error) error {
	o := s.w.cfg.Observer
	if o.Began == nil && o.Ended == nil {
		return attempt(ctx)
	}
	b := Batch{Projection: s.name, Events: events}
	for _, fence := range s.touched(events) {
		b.Partitions = append(b.Partitions, fence.Partition)
	}
	slices.Sort(b.Partitions)
	if o.Began != nil {
		ctx = o.Began(ctx, b)
	}
	err := attempt(ctx)
	if o.Ended != nil {
		o.Ended(ctx, b, err)
	}
	return err
}
