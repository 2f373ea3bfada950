package apply

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// A handler may leave its transaction with another client_encoding, under which the names in the worker's own statements would be
// read as others: no checkpoint would be found, and no queue. Or with other strings, with which pgx refuses to send anything by the
// simple protocol. A server reports both before it is ready for the next statement, so where the handler has had its answers, they
// are looked at; where its statements are sent together with the worker's, nothing is known, and the encoding is set.

// restoreForms takes back what a handler has made of the forms of statements in the transaction of conn. It is a round trip, where
// that is needed alone, and without a parameter, which would be bent too.
func (w *working) restoreForms(ctx context.Context, conn *pgx.Conn) error {
	told := conn.PgConn().ParameterStatus
	if told("client_encoding") == "UTF8" && told("standard_conforming_strings") == "on" {
		return nil
	}
	_, err := conn.PgConn().Exec(ctx, sqlForms.In("")).ReadAll()
	return w.own("to take back a handler's encoding", err)
}

// queueForms queues the setting of the encoding before the statements that were queued from the first on, if it makes a
// difference to one of them, which name tables in schema. The statements before may be a handler's.
func (w *working) queueForms(batch *pgx.Batch, first int, schema string) {
	own := batch.QueuedQueries[first:]
	encoded := func(q *pgx.QueuedQuery) bool { return slices.ContainsFunc(q.Arguments, isEncoded) }
	if first == 0 || isASCII(schema) && !slices.ContainsFunc(own, encoded) {
		return
	}
	var forms pgx.Batch
	w.exec("to take back a handler's encoding", forms.Queue(sqlEncoding.In("")))
	batch.QueuedQueries = slices.Insert(batch.QueuedQueries, first, forms.QueuedQueries...)
}

// isEncoded reports whether an argument of a statement is text that is not the same in all encodings.
func isEncoded(argument any) bool {
	switch a := argument.(type) {
	case string:
		return !isASCII(a)
	case *string:
		return a != nil && !isASCII(*a)
	case []string:
		return slices.ContainsFunc(a, func(s string) bool { return !isASCII(s) })
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
