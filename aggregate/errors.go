package aggregate

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/eventstore"
)

var (
	// ErrMissing is matched, by errors.Is, by the error for a stream of which events are not in the log any more. That error is a
	// *[MissingError].
	ErrMissing = errors.New("aggregate: events of the stream are not in the log")

	// ErrOption is returned for an option, or a nil function, that cannot be meant. Nothing was read.
	ErrOption = errors.New("aggregate: not to be called like this")
)

// MissingError is the error for a stream of which events are not in the log any more, and no snapshot covers them: they were moved
// to an archive, or deleted.
type MissingError struct {
	// Stream is the one that was read.
	Stream eventstore.Stream
	// From and To are the first and the last version that is missing.
	From, To int64
}

// Error returns a sentence that says what to do.
func (e *MissingError) Error() string {
	return fmt.Sprintf("aggregate: versions %d to %d of %s are not in the log any more, so its state is not known: put them back with "+
		"'rouse archive restore', or keep snapshots that cover them", e.From, e.To, e.Stream)
}

// Is reports whether target is ErrMissing.
func (e *MissingError) Is(target error) bool { return target == ErrMissing }

// raced returns err, with eventstore.ErrRetryTransaction if it is the server's verdict that a concurrent transaction came first, and reports
// whether running the transaction again can help.
func raced(err error) (again bool, _ error) {
	if errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrRetryTransaction) {
		return true, err
	}
	var server *pgconn.PgError
	if errors.As(err, &server) && (server.Code == "40001" || server.Code == "40P01") { // serialization_failure, deadlock_detected
		return true, fmt.Errorf("%w: %w", eventstore.ErrRetryTransaction, err)
	}
	return false, err
}

// isConflict reports whether err leaves a transaction usable: a savepoint in it was rolled back, and its next statement sees what came.
func isConflict(err error) bool {
	return errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction)
}
