package eventstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrConflict is matched, by errors.Is, by the error for a stream that is not at the expected version. That error
	// is a *[ConflictError], which has the actual version. Nothing was appended and the transaction is still usable.
	ErrConflict = errors.New("eventstore: stream is not at the expected version")

	// ErrDuplicateID is returned when an event with one of the given ids is in the log already, or an id was given
	// twice: most often the append had already been done. Nothing was appended and the transaction is still usable.
	ErrDuplicateID = errors.New("eventstore: an event with this id exists already")

	// ErrRetryTransaction is returned when the server ended the statement in favour of a concurrent transaction: in
	// REPEATABLE READ and SERIALIZABLE, where a transaction cannot see the commit that came first, and on a deadlock.
	// The transaction is of no further use: roll back, and run all of it again from its reads.
	ErrRetryTransaction = errors.New(
		"eventstore: a concurrent transaction came first: roll back and run the whole transaction again")

	// ErrNoEvents is returned for an append of no events. It is not a silent success, because the expected version
	// would not be checked.
	ErrNoEvents = errors.New("eventstore: no events to append: skip the call if there is nothing to record")

	// ErrInvalid is returned for a stream, an expectation or an event that cannot be stored, before the database is
	// asked. Nothing was appended and the transaction is still usable.
	ErrInvalid = errors.New("eventstore: invalid append")

	// ErrNotMigrated is returned when search_path leads to no table events, or to one that lacks a part.
	ErrNotMigrated = errors.New(
		"eventstore: the table events is not there: run 'rouse migrate' on this database, or set search_path to its schema")

	errParseID = errors.New("eventstore: not an event id: want a UUID such as 0198c1f2-6b1e-7a40-9c55-2f8e6d1b7a03")
)

// ConflictError is the error for a stream that is not at the version that the caller of Append expected. It matches
// [ErrConflict].
type ConflictError struct {
	// Stream is the stream that the events were meant for.
	Stream Stream
	// Expected is the caller's expectation. With Any the stream kept moving for a thousand attempts.
	Expected Expected
	// Actual is the version of the stream's last event as this transaction sees it; 0 means that it has none.
	Actual int64
}

// Error returns a message that names the stream, its version, and the remedy.
func (e *ConflictError) Error() string {
	if e.Expected.any {
		return fmt.Sprintf("eventstore: other writers were faster every time, %s is at version %d now: append again later",
			e.Stream, e.Actual)
	}
	return fmt.Sprintf("eventstore: %s is at version %d, expected %s: read the stream and decide again",
		e.Stream, e.Actual, e.Expected)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool {
	return target == ErrConflict
}

// The SQLSTATEs that this package treats differently from others.
const (
	stateUniqueViolation      = "23505"
	stateSerializationFailure = "40001"
	stateDeadlockDetected     = "40P01"
	stateUndefinedTable       = "42P01"
)

// sqlState returns the SQLSTATE of err, "" if the server did not report it.
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// explain returns err, an error of the database, with its meaning here. what names the operation.
func explain(what string, err error) error {
	switch sqlState(err) {
	case stateSerializationFailure, stateDeadlockDetected:
		return fmt.Errorf("%w: %w", ErrRetryTransaction, err)
	case stateUndefinedTable:
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	default:
		return fmt.Errorf("eventstore: %s: %w", what, err)
	}
}
