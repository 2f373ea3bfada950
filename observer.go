package rouse

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/projector"
)

// Observer is a set of functions that a Worker calls when something happens. Each may be nil. The worker calls them on
// its own goroutines, some of them at the same time; they must be safe for concurrent use and must not wait.
type Observer struct {
	// Handled is called after every committed batch, with the number of events that were handled and the time since its
	// first statement.
	Handled func(projection string, events int, took time.Duration)

	// Committed is called after every committed batch of which no event was parked behind an earlier one, with its
	// events. It must not keep or change them.
	Committed func(projection string, events []eventstore.Event)

	// Began is called before every attempt at events in one transaction, and before every event of an Effect; it
	// returns the context of the attempt. Ended is called after the attempt, with that context, and with the first of the
	// events only where the time did not suffice for more (Config.BatchTime); err nil: the transaction is committed, or the
	// Effect is done. With Config.Concurrency above 1 several attempts overlap.
	Began func(ctx context.Context, b Batch) context.Context
	Ended func(ctx context.Context, b Batch, err error)

	// Failed is called after every failed attempt, with the number of its events and the cause.
	Failed func(projection string, events int, err error)

	// GaveUp is called after an event that could not be handled was parked or skipped, with the policy that was applied
	// and the cause.
	GaveUp func(projection string, ev eventstore.Event, what OnFailure, err error)

	// Fenced is called when a batch was rolled back because a partition had changed hands or the database had crashed.
	Fenced func(projection string, events int)

	// VersionGap is called when the version of an aggregate jumped: ev has another version than want, which was due. It
	// is called once per aggregate, and not while a projection with EventTypes or AggregateTypes is far behind. The
	// cause is a program that writes versions of its own, or an append trigger that was off.
	VersionGap func(projection string, ev eventstore.Event, want int64)

	// Unknown is called for every event that a handler passes over because the type of the event is not known to the program (the option
	// Unknown of package projection), and again where the event is handled again. It must not keep or change the event's Payload and Metadata.
	Unknown func(projection string, ev eventstore.Event)

	// State is called after every change of a projection's state.
	State func(projection string, state State)

	// Mode is called after every change of the push mode: quiet, torrent, polling or deaf.
	Mode func(mode string)

	// Owns is called with the partitions of a projection that the worker owns, after every claim, and with none when
	// the worker has given them up or may no longer rely on them. It must not keep or change them.
	Owns func(projection string, partitions []int)

	// Woke is called with the cause that ended a sleep of the reader: WakePush, WakePoll or WakeProbe.
	Woke func(source string)

	// PushMissed is called after a read that found events which a push, though standing and proven, had not announced
	// and did not announce within a second. Some misses go unreported. Nothing is lost by a miss: polling has found the
	// events.
	PushMissed func()

	// Blocked is called after every read that met committed events behind a hole that an open append may still fill.
	Blocked func()
}

// The causes that end a sleep of the reader.
const (
	WakePush  = catchup.WakePush  // the notification of an append
	WakePoll  = catchup.WakePoll  // the pause without a wake was over; also every read in a torrent
	WakeProbe = catchup.WakeProbe // the listener changed its mode, or Health asked whether the reader lives
)

// Batch is the input of one attempt of a handler.
type Batch struct {
	Projection string
	Partitions []int              // the partitions of the events, rising
	Events     []eventstore.Event // at least one; not to be kept or changed
}

// State is the state of a projection in one worker. Package internal/projector has the states as a diagram.
type State string

// The states of a projection.
const (
	// StateStarting: it has not handled a batch since the worker started.
	StateStarting = State(projector.Starting)
	// StateStandby: it owns no partition, because other workers own those that it should have, or none is left for it.
	StateStandby = State(projector.Standby)
	// StatePaused: an operator has paused it.
	StatePaused = State(projector.Paused)
	// StateCatchingUp: it is more than four batches behind the end of the log, or has just recovered from
	// StateRetrying or StateWaiting.
	StateCatchingUp = State(projector.CatchingUp)
	// StateLive: it has read everything and waits for wakes.
	StateLive = State(projector.Live)
	// StateRetrying: an event under Stop or the database fails and is tried again, and everything waits for that. Events that are
	// set aside until their next try change no state.
	StateRetrying = State(projector.Retrying)
	// StateWaiting: what its handler depends on is away, as Unavailable says or failures in a row show. One event is tried
	// now and then, and no try counts.
	StateWaiting = State(projector.Waiting)
	// StateStopped: an event failed too often under Stop, or only a person can help. It stands still until the worker
	// is started again.
	StateStopped = State(projector.Stopped)
)
