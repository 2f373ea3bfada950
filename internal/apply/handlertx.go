package apply

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// HandlerTx is the transaction that a handler receives, or a savepoint in it. The transaction cannot be ended. Both refuse to be
// used once the handler has returned: a goroutine that is left behind would write outside of it, or into the next one. Two things
// that it gives out cannot refuse: a connection (Conn), which the handler must not keep, and large objects, after which the session
// is closed.
type HandlerTx struct {
	tx        pgx.Tx
	uses      *uses
	savepoint bool
}

// uses are what a handler has done with its transaction and the savepoints in it. It may be used by several goroutines.
type uses struct {
	returned   atomic.Bool
	listens    atomic.Bool // it has sent a LISTEN
	savepoints atomic.Bool // it has begun some
	objects    atomic.Bool // it was given access to large objects
}

// NewHandlerTx returns tx for a handler. Call Return when the handler has returned.
func NewHandlerTx(tx pgx.Tx) *HandlerTx { return &HandlerTx{tx: tx, uses: &uses{}} }

// Return ends the use of the transaction.
func (h *HandlerTx) Return() { h.uses.returned.Store(true) }

// usable returns why the transaction must not be used any more, nil if it may be: a statement behind one that has ended it would
// commit by itself.
func (h *HandlerTx) usable() error {
	if h.uses.returned.Load() {
		return errReturned
	}
	if h.tx.Conn().PgConn().TxStatus() == 'I' {
		return Permanent(errEndedByHandler)
	}
	return nil
}

// Begin begins a savepoint.
func (h *HandlerTx) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	h.uses.savepoints.Store(true)
	tx, err := h.tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &HandlerTx{tx: tx, uses: h.uses, savepoint: true}, nil
}

// Commit releases a savepoint. For the transaction it refuses with an error; the worker commits.
func (h *HandlerTx) Commit(ctx context.Context) error {
	if !h.savepoint {
		return errEndedByHandler
	}
	if err := h.usable(); err != nil {
		return err
	}
	return h.tx.Commit(ctx)
}

// Rollback rolls back to a savepoint. For the transaction it refuses with an error; the worker rolls back.
func (h *HandlerTx) Rollback(ctx context.Context) error {
	if !h.savepoint {
		return errEndedByHandler
	}
	if err := h.usable(); err != nil {
		return err
	}
	return h.tx.Rollback(ctx)
}

// CopyFrom copies rows, as pgx.Tx says.
func (h *HandlerTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	if err := h.usable(); err != nil {
		return 0, err
	}
	return h.tx.CopyFrom(ctx, table, columns, from)
}

// SendBatch sends a batch, as pgx.Tx says.
func (h *HandlerTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := h.usable(); err != nil {
		return refused{err}
	}
	return h.tx.SendBatch(ctx, b)
}

// LargeObjects gives access to large objects, as pgx.Tx says.
func (h *HandlerTx) LargeObjects() pgx.LargeObjects {
	if h.usable() != nil {
		return closedTx.LargeObjects()
	}
	h.uses.objects.Store(true)
	return h.tx.LargeObjects()
}

// closedTx is a transaction whose methods return pgx.ErrTxClosed. It has no connection.
var closedTx = func() pgx.Tx {
	var batch pgx.Batch
	batch.BeginTx(pgx.TxOptions{})
	return pgx.FailedBatchResults(&batch, errReturned).Tx()
}()

// Prepare prepares a statement, as pgx.Tx says.
func (h *HandlerTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	return h.tx.Prepare(ctx, name, sql)
}

// Exec runs a statement, as pgx.Tx says.
func (h *HandlerTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := h.usable(); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := h.tx.Exec(ctx, sql, args...)
	if tag.String() == listen {
		h.uses.listens.Store(true)
	}
	return tag, err
}

// listen is the tag of the command that makes a session listen.
const listen = "LISTEN"

// Query runs a statement, as pgx.Tx says.
func (h *HandlerTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	return h.tx.Query(ctx, sql, args...)
}

// QueryRow runs a statement, as pgx.Tx says.
func (h *HandlerTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := h.usable(); err != nil {
		return refused{err}
	}
	return h.tx.QueryRow(ctx, sql, args...)
}

// Conn returns the connection, which the handler must not keep.
func (h *HandlerTx) Conn() *pgx.Conn { return h.tx.Conn() }

// refused is the result of a statement that was not sent.
type refused struct{ err error }

func (r refused) Scan(...any) error                { return r.err }
func (r refused) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, r.err }
func (r refused) Query() (pgx.Rows, error)         { return nil, r.err }
func (r refused) QueryRow() pgx.Row                { return r }
func (r refused) Tx() pgx.Tx                       { return nil }
func (r refused) Close() error                     { return r.err }
