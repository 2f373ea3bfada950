package apply

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// A batch at rest is small, and what the server does for begin and commit is a tenth of what it does for it. Statements that are sent up to
// one Sync are a transaction without them. So a batch whose statements read and write rows, and nothing else, goes without; whatever
// might tell the difference is begun: what sets something, locks a table, or makes a savepoint. That the transaction is still the
// one of its settings is tested by the save, as ever.

// beginsKey is where it is kept, in the CustomData of a connection, that its transactions have to be begun: its session has defaults of its
// own.
const beginsKey = "rouse.begins"

// isImplicit reports whether w has no begin and no commit. w may be nil.
func (w *working) isImplicit() bool { return w != nil && w.implicit }

// beginWith makes batch begin with the transaction of w, whose settings are its first statement, on conn: by a begin, or without. It
// returns how many statements stand before the handler's. end is how it will end.
func (t *transactions) beginWith(ctx context.Context, w *working, conn *pgx.Conn, batch *pgx.Batch, end txEnd) (before int, err error) {
	if err := t.look(ctx, w, conn); err != nil {
		return 0, err
	}
	if t.mayBeImplicit(w, conn, batch.QueuedQueries[1:], end) {
		w.implicit = true
		w.settings.SQL = sqlWorkImplicit.In(t.pool.Schema)
		w.settings.Arguments = []any{t.async, w.limit, t.presence, w.name, db.NeedsOf(conn).Unlimited}
		w.settings.Fn = func(results pgx.BatchResults) error {
			_, err := results.Exec()
			if sqlState(err) == "22P02" { // invalid_text_representation, which only another kind of transaction is
				conn.PgConn().CustomData()[beginsKey] = true
				return restoreError{err}
			}
			if IsRefusal(err) {
				return refusal("the settings of a transaction", err)
			}
			return err
		}
		return 1, nil
	}
	t.set(w.settings, conn, settings{limit: w.limit, idle: w.limit, name: w.name, path: w.path})
	var begin pgx.Batch
	queueBegin(&begin)
	batch.QueuedQueries = slices.Insert(batch.QueuedQueries, 0, begin.QueuedQueries...)
	return 2, nil
}

// mayBeImplicit reports whether the transaction of w may go without begin and commit on conn, with the statements that a handler has queued.
func (t *transactions) mayBeImplicit(w *working, conn *pgx.Conn, queued []*pgx.QueuedQuery, end txEnd) bool {
	known := conn.PgConn().CustomData()
	switch {
	case db.NeedsOf(conn).Forms || w.before.begins || known[beginsKey] != nil || w.restores.Load():
		return false
	case len(end.park) > 0 || !isASCII(end.save.Schema) || !isASCII(end.save.Projection): // the encoding may have to be set
		return false
	}
	for _, q := range queued {
		if last := t.plain.Load(); last != nil && *last == q.SQL && q.Fn == nil && !rewritten(q.Arguments) {
			continue // as it is with event after event
		}
		if mustGoAlone(q) {
			return false
		}
		sql := q.SQL // a copy: pgx writes to that of the query while it sends
		t.plain.Store(&sql)
	}
	return true
}

// ended returns the error of a batch with its meaning if it is that of the commit which a Sync is.
func (w *working) ended(err error) error {
	if w.isImplicit() && w.saved && !isJudged(err) {
		return w.commitError(err)
	}
	return err
}
