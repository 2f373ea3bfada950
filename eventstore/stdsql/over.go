package stdsql

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// over is a Tx as package eventstore reads from it.
type over struct{ tx Tx }

// Query runs a statement that returns rows.
func (o over) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	found, err := o.tx.QueryContext(ctx, query, params(args)...)
	if err != nil {
		return nil, failed(err)
	}
	return &rows{found: found}, nil
}

// transaction is a Tx as package eventstore appends in it. The interfaces of pgx are embedded as nil, here and below: eventstore.Append does not
// ask for the rest of them.
type transaction struct {
	pgx.Tx
	over
}

// Query is that of over.
func (t transaction) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return t.over.Query(ctx, query, args...)
}

// Exec runs statements that return no rows. Several are sent one by one, because a prepared statement is only one.
func (t transaction) Exec(ctx context.Context, statements string, args ...any) (pgconn.CommandTag, error) {
	for one := range strings.SplitSeq(statements, "; ") {
		if _, err := t.over.tx.ExecContext(ctx, one, params(args)...); err != nil {
			return pgconn.CommandTag{}, failed(err)
		}
	}
	return pgconn.CommandTag{}, nil
}

// QueryRow runs a statement that returns one row, when the row is scanned.
func (t transaction) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return row(func(dest ...any) error {
		found, err := t.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer found.Close()
		if !found.Next() {
			return errors.Join(found.Err(), pgx.ErrNoRows)
		}
		if err := found.Scan(dest...); err != nil {
			return err
		}
		for found.Next() { // to the end, where an error of the statement is
		}
		return found.Err()
	})
}

// row is the scan of a row.
type row func(dest ...any) error

// Scan reads the row.
func (r row) Scan(dest ...any) error { return r(dest...) }

// SendBatch returns the results of statements, each of which is sent when its result is asked for: database/sql knows no batches.
func (t transaction) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return &batch{
		queued: b.QueuedQueries,
		exec:   func(q *pgx.QueuedQuery) (pgconn.CommandTag, error) { return t.Exec(ctx, q.SQL, q.Arguments...) },
		query:  func(q *pgx.QueuedQuery) (pgx.Rows, error) { return t.Query(ctx, q.SQL, q.Arguments...) },
	}
}

// batch is the results of a batch.
type batch struct {
	pgx.BatchResults
	queued []*pgx.QueuedQuery // those that are still to be sent
	exec   func(*pgx.QueuedQuery) (pgconn.CommandTag, error)
	query  func(*pgx.QueuedQuery) (pgx.Rows, error)
}

// next takes the next statement.
func (b *batch) next() (q *pgx.QueuedQuery) {
	q, b.queued = b.queued[0], b.queued[1:]
	return q
}

// Exec sends the next statement.
func (b *batch) Exec() (pgconn.CommandTag, error) { return b.exec(b.next()) }

// Query sends the next statement.
func (b *batch) Query() (pgx.Rows, error) { return b.query(b.next()) }

// Close does nothing: what was not asked for was not sent.
func (b *batch) Close() error { return nil }

// rows are rows of database/sql as pgx has them. Their values are text, as package eventstore takes them in such modes of pgx.
type rows struct {
	pgx.Rows
	found  *sql.Rows
	fields []pgconn.FieldDescription
	raw    [][]byte
	err    error
}

// oids are the types of the columns of events, by the name that drivers give them.
var oids = map[string]uint32{
	"INT2": pgtype.Int2OID, "INT4": pgtype.Int4OID, "INT8": pgtype.Int8OID, "JSON": pgtype.JSONOID,
	"TEXT": pgtype.TextOID, "TIMESTAMPTZ": pgtype.TimestamptzOID, "UUID": pgtype.UUIDOID,
}

// FieldDescriptions returns the names and types of the columns.
func (r *rows) FieldDescriptions() []pgconn.FieldDescription {
	if r.fields != nil {
		return r.fields
	}
	columns, err := r.found.ColumnTypes()
	if err != nil {
		r.err = failed(err)
		return nil
	}
	r.raw = make([][]byte, len(columns))
	for i, c := range columns {
		r.fields = append(r.fields, pgconn.FieldDescription{Name: c.Name(), DataTypeOID: oids[c.DatabaseTypeName()], Format: pgtype.TextFormatCode})
		r.raw[i] = []byte{}
	}
	return r.fields
}

// RawValues returns as many values as there are columns, all of them empty: Scan has them, and refuses a null where none may be.
func (r *rows) RawValues() [][]byte { return r.raw }

// Next reports whether there is a further row.
func (r *rows) Next() bool { return r.err == nil && r.found.Next() }

// Scan reads the row.
func (r *rows) Scan(dest ...any) error { return failed(r.found.Scan(dest...)) }

// Close closes the rows.
func (r *rows) Close() {
	if err := r.found.Close(); r.err == nil {
		r.err = failed(err)
	}
}

// Err returns what has ended the rows.
func (r *rows) Err() error {
	if r.err != nil {
		return r.err
	}
	return failed(r.found.Err())
}

// CommandTag returns nothing: database/sql does not tell it.
func (r *rows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

// params returns arguments as every driver takes them: arrays as their text.
func params(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case []string:
			out[i] = arrayOf(arg, func(s string) string { return `"` + escaped.Replace(s) + `"` })
		case []int32:
			out[i] = arrayOf(arg, func(n int32) string { return strconv.Itoa(int(n)) })
		default:
			out[i] = arg
		}
	}
	return out
}

// escaped puts a backslash before what would end an element of an array.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayOf returns elements as the text of an array.
func arrayOf[T any](elements []T, text func(T) string) string {
	texts := make([]string, len(elements))
	for i, e := range elements {
		texts[i] = text(e)
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// failed returns an error of the driver as errors.As finds it in those of pgx, by its SQLSTATE.
func failed(err error) error {
	var known *pgconn.PgError
	var state interface{ SQLState() string }
	if err == nil || errors.As(err, &known) || !errors.As(err, &state) {
		return err
	}
	return stateError{error: err, state: state.SQLState()}
}

// stateError is an error of another driver than pgx.
type stateError struct {
	error
	state string
}

// Unwrap returns the error of the driver.
func (e stateError) Unwrap() error { return e.error }

// As gives a *pgconn.PgError with the SQLSTATE and the text.
func (e stateError) As(target any) bool {
	if p, is := target.(**pgconn.PgError); is {
		*p = &pgconn.PgError{Code: e.state, Message: e.Error()}
		return true
	}
	return false
}
