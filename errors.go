package rouse

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrConfig means that a Config cannot work; the message lists every fault.
	ErrConfig = errors.New("rouse: the configuration is not usable")

	// ErrRunning is returned by Run when the worker already runs, or has run: a Worker runs once.
	ErrRunning = errors.New("rouse: this worker has already been started (make a new one)")

	// ErrEnded is returned by Drain when the worker ended before everything was handled.
	ErrEnded = errors.New("rouse: the worker ended before everything was handled")

	// ErrStopTimeout is returned by Run when a handler had not returned StopTimeout after the stop. Its transaction is
	// rolled back; its goroutine may still be there.
	ErrStopTimeout = errors.New("rouse: a handler did not return within the stop timeout (its work is rolled back and will be done again)")

	// ErrReplaced means that the events table was dropped and created again while the worker ran.
	ErrReplaced = errors.New("rouse: the events table is another one than at the start (start the worker again)")

	// ErrLeaseLost is why a handler's context ends, and why a batch is rolled back whole, when the worker can no longer rely
	// on owning the partitions: others own them by now, or may take them because its heartbeats do not get through. The
	// worker starts over by itself, with what it then owns.
	ErrLeaseLost = errors.New("rouse: the partitions belong to somebody else by now, or soon may")

	errPanic   = errors.New("the handler panicked")
	errTimeout = errors.New("the handler did not return in time")
	errHeld    = errors.New("rouse: another session holds the checkpoints (look for it in pg_locks)")
	errEnded   = errors.New("rouse: a projection must not commit or roll back its transaction")
)

// StoppedError is returned by Run when a projection was stopped because of an event that it cannot handle, or because of
// the log itself. Its checkpoint stands before that event; started again, it tries again.
type StoppedError struct {
	Projection string

	// Position is the event's global position, 0 if no single event is to blame. AggregateType, AggregateID, Version and
	// EventType say which event it is.
	Position                   int64
	AggregateType, AggregateID string
	Version                    int64
	EventType                  string

	// Err is what the handler returned last.
	Err error
}

// Error names the event and the cause.
func (e *StoppedError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("rouse: projection %s is stopped: %v", e.Projection, e.Err)
	}
	return fmt.Sprintf("rouse: projection %s is stopped at position %d (%s of %s %s, version %d): %v (mend the handler or the event, then start the worker again)",
		e.Projection, e.Position, e.EventType, e.AggregateType, e.AggregateID, e.Version, e.Err)
}

// Unwrap returns what the handler returned last.
func (e *StoppedError) Unwrap() error { return e.Err }

// isTransient tells whether a transaction failed for a reason that has nothing to do with its handler, so that it is tried
// again at once and not counted: serialization, deadlock, lock timeout.
func isTransient(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return true
	}
	return false
}

// isDivision tells whether a statement divided by zero, as those of the worker's own do where what they need is not there.
func isDivision(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "22012"
}

// isReadOnly tells whether a statement failed because its session may only read.
func isReadOnly(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "25006"
}

// isOutage tells whether the server said that it, or the session, is going away.
func isOutage(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "08", "53", "58": // connection exception, insufficient resources, system error
		return true
	}
	switch pgErr.Code {
	case "57P01", "57P02", "57P03", "57P05", "25P03": // shutdowns, cannot connect now, idle timeouts
		return true
	case "25006": // read-only transaction: a primary that became a standby
		return true
	}
	return false
}
