package rouse

import (
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// Observer is told what happens in a Worker. Each function may be nil. They are called on the worker's own goroutines, some
// of them at the same time, and must not wait.
type Observer struct {
	// Handled is told of every committed batch: how many events it had and how long it took from its first statement on.
	Handled func(projection string, events int, took time.Duration)

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
