package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rouse-es/rouse/eventstore"
)

// ErrLeaseLost means that the worker can no longer rely on owning the partitions, and that a batch was rolled back
// whole.
var ErrLeaseLost = errors.New("rouse: the partitions belong to somebody else by now, or soon may")

// ErrHeld means that another session holds the checkpoints, for longer than a save waits.
var ErrHeld = errors.New("rouse: another session holds the checkpoints (look for it in pg_locks)")

var (
	errPanic    = errors.New("the handler panicked")
	errTimeout  = errors.New("the handler did not return in time")
	errExited   = errors.New("the handler ended its goroutine (runtime.Goexit, as t.FailNow does) instead of returning")
	errReturned = errors.New("rouse: the transaction of a handler must not be used after the handler has returned (wait for its goroutines)")

	errBusy    = errors.New("rouse: the handler has returned with rows or results still open (close them)")
	errIgnored = errors.New("rouse: a statement of the handler's failed, and the handler returned no error")
	errGaveUp  = errors.New("rouse: a context of the handler's own ended during a statement, which closes the session")

	errInTheWay   = errors.New("rouse: another transaction is in the way")
	errNoRoom     = errors.New("rouse: the server has no room on its disk")
	errLostAlone  = errors.New("rouse: the session was lost under the handler's work, and no other session was")
	errUnanswered = errors.New("rouse: the database does not answer")
	errSlowCommit = errors.New("rouse: save and commit have not ended in time (deferred constraints, or a standby that the commit waits for)")

	errReadOnlyByHandler = errors.New("rouse: a projection must not make its transaction read-only")

	errEndedByHandler = errors.New("rouse: a projection must not commit or roll back its transaction")

	// errDied is the cause with which an event is given up when no handler ever returned from it.
	errDied = errors.New("the process died, or was killed, each time while it handled this event")

	// errSkipped is the cause with which an event is passed over because an operator wants that; it was not tried
	// again.
	errSkipped = errors.New("somebody wanted it skipped")

	// errFreed means that no event of an aggregate is parked any longer.
	errFreed = errors.New("rouse: the aggregate is free")

	// errDiscarded means that an operator discarded a parked event while it was retried; its transaction is rolled
	// back.
	errDiscarded = errors.New("rouse: a parked event was discarded")
)

// StoppedError means that a projection has to stop: because of Event, which it cannot handle, or because of Err alone
// if Event is zero.
type StoppedError struct {
	Event eventstore.Event
	Err   error
}

// Error returns the cause after a constant prefix.
func (e *StoppedError) Error() string { return fmt.Sprintf("the projection is stopped: %v", e.Err) }

// Unwrap returns Err.
func (e *StoppedError) Unwrap() error { return e.Err }

// permanentError marks an error of a handler that another try cannot mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as an error that another try cannot mend. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// isPermanent reports whether err was marked by Permanent.
func isPermanent(err error) bool {
	var permanent permanentError
	return errors.As(err, &permanent)
}

// reasonLimit is the maximum length of an error's text in the database, in bytes.
const reasonLimit = 2000

// Reason returns the text of err in a form that a text column holds: without zero bytes, as valid UTF-8, up to
// reasonLimit.
func Reason(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\ufffd")
	if len(text) > reasonLimit {
		text = strings.ToValidUTF8(text[:reasonLimit], "")
	}
	return text
}
