package stdsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/rouse-es/rouse/eventstore"
)

// Tx is a transaction of database/sql: a *sql.Tx, or what wraps one and leaves statements and arguments as they are.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ErrNoTransaction is returned for what is no transaction, such as a *sql.DB, or one that changes statements, such as a bun.Tx. Nothing was
// appended.
var ErrNoTransaction = errors.New("stdsql: events are appended in a transaction: give the *sql.Tx of it")

// Append adds events to the end of a stream, in the caller's transaction, if the stream is at the expected version. It is
// [eventstore.Append], with its results and errors, and its promise about which of them leave the transaction usable.
func Append(ctx context.Context, tx Tx, stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) (eventstore.Appended, error) {
	if err := check(tx); err != nil {
		return eventstore.Appended{}, err
	}
	return eventstore.Append(ctx, transaction{over: over{tx}}, stream, expected, events...)
}

// ReadStream returns the events of a stream as [eventstore.ReadStream] does, as the transaction sees them: those that it has appended itself
// are among them. q may be a *sql.DB too.
func ReadStream(ctx context.Context, q Tx, stream eventstore.Stream, options eventstore.ReadOptions) ([]eventstore.Event, error) {
	if q == nil {
		return nil, errors.New("stdsql: there is nothing to read from: it is nil")
	}
	return eventstore.ReadStream(ctx, over{q}, stream, options)
}

// check returns an error for what is known to be no transaction.
func check(tx Tx) error {
	if tx == nil {
		return fmt.Errorf("%w, not nil", ErrNoTransaction)
	}
	// A *sql.Tx begins nothing. What does is a pool or a connection, of whatever library, or a bun.Tx.
	if reflect.ValueOf(tx).MethodByName("BeginTx").IsValid() {
		return fmt.Errorf("%w, not a %T", ErrNoTransaction, tx)
	}
	return nil
}
