package rouse

import (
	"errors"
	"fmt"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/projector"
	"github.com/rouse-es/rouse/partition"
)

var (
	// ErrConfig is returned by New for a Config that cannot work; the message lists every fault.
	ErrConfig = errors.New("rouse: the configuration is not usable")

	// ErrRunning is returned by Run when the worker already runs, or has run: a Worker runs once.
	ErrRunning = errors.New("rouse: this worker has already been started (make a new one)")

	// ErrEnded is returned by Drain when the worker ended before everything was handled.
	ErrEnded = errors.New("rouse: the worker ended before everything was handled")

	// ErrStopTimeout is returned by Run when a handler has not returned StopTimeout after the stop, and a second after
	// its context was cancelled. Its transaction is rolled back; its goroutine may still run.
	ErrStopTimeout = errors.New("rouse: a handler did not return within the stop timeout (its work is rolled back and will be done again)")

	// ErrReplaced is the cause of a StoppedError when the events table was dropped and created again while the worker
	// ran.
	ErrReplaced = projector.ErrReplaced

	// ErrNoStart is returned by Run for an effect that has not run here yet, if there are events already, and nothing says whether
	// it is to handle them. The message has the two lines to choose from (Starter).
	ErrNoStart = errors.New("rouse: it is not said where an effect begins, and there are events already")

	// ErrStart is returned by Run for a Start that cannot be used, such as a position beyond the log.
	ErrStart = catchup.ErrStart

	// ErrDropped is the cause of a StoppedError when the projection was dropped or renamed (package projection), or its row in
	// the database deleted, before the worker started or while it ran. The message says what is to be done. Other projections of
	// the worker go on. It is not made anew by itself, because it would begin at the beginning of the log.
	ErrDropped = partition.ErrGone

	// ErrLeaseLost is the cause with which a handler's context ends, and the error of a batch that is rolled back
	// whole, when the worker can no longer rely on owning the partitions: other workers own them by now, or may take
	// them because its heartbeats do not get through. The worker starts over by itself, with the partitions that it
	// then owns.
	ErrLeaseLost = apply.ErrLeaseLost
)

// StoppedError is returned by Run when a projection is stopped by an event that it cannot handle, or by a condition
// that only a person can mend. Its checkpoints stand before that event; a worker that is started again tries again.
type StoppedError struct {
	Projection string

	// Position is the event's global position, 0 if no single event is the cause. AggregateType, AggregateID, Version
	// (the event's number in its aggregate) and EventType identify the event; they are zero with Position.
	Position                   int64
	AggregateType, AggregateID string
	Version                    int64
	EventType                  string

	// Err is the last error of the handler, or the condition that stopped the projection.
	Err error
}

// Error returns a message that names the projection, the event and the cause.
func (e *StoppedError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("rouse: projection %s is stopped: %v", e.Projection, e.Err)
	}
	return fmt.Sprintf("rouse: projection %s is stopped at position %d (%s of %s %s, version %d): %v (mend the handler or the event, then start the worker again)",
		e.Projection, e.Position, e.EventType, e.AggregateType, e.AggregateID, e.Version, e.Err)
}

// Unwrap returns Err.
func (e *StoppedError) Unwrap() error { return e.Err }
