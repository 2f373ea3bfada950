package apply

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
)

// working is a transaction in which a handler works, and what the handler has made of its session.
type working struct {
	name     string           // the save tests it
	limit    string           // of a statement
	settings *pgx.QueuedQuery // until they are sent
	before   sessionState     // as the connection was when it was first used for a handler
	after    sessionState     // as the save has found it: role and path only
	path     string           // the search_path that the transaction has begun with; "": that of the session
	left     string           // the search_path of the session behind the commit, read where path is set

	within string // the schema that the handler may write to, beside temporary tables; "": any

	implicit bool // it has no begin and no commit
	saved    bool // its save has gone well

	hadTables bool // the session has had temporary tables
	listens   bool // the handler has sent a LISTEN, which takes effect with the commit
	lent      bool // the handler was given access to large objects, which cannot be taken back from it

	// restores makes the worker's own statements begin with restore.sql. It is set, for good, once they were refused without.
	restores *atomic.Bool
}

// sessionState is what a handler may change of a session so that it outlives the transaction.
type sessionState struct {
	role, path       string
	tables, channels int64 // temporary tables; channels that are listened to
	begins           bool  // its transactions are not what they have to be unless their begin says so
}

// sessionKey is where the state of a connection is kept, in its CustomData.
const sessionKey = "rouse.session"

// stateOf returns the state of a connection as it was when it was first used for a handler.
func stateOf(ctx context.Context, conn *pgx.Conn) (sessionState, error) {
	if state, known := conn.PgConn().CustomData()[sessionKey].(sessionState); known {
		return state, nil
	}
	state, err := readState(ctx, conn)
	if err == nil {
		conn.PgConn().CustomData()[sessionKey] = state
	}
	return state, err
}

func readState(ctx context.Context, conn *pgx.Conn) (s sessionState, err error) {
	return s, conn.QueryRow(ctx, sqlSession.In("")).Scan(&s.role, &s.path, &s.tables, &s.channels, &s.begins)
}

// queueRestore queues what comes between the handler and the worker's own statements, if that is needed.
func (w *working) queueRestore(batch *pgx.Batch) {
	if w.restores.Load() {
		own("to take back a handler's settings", batch.Queue(sqlRestore.In(""), w.before.role, w.limit))
	}
}

// queueLeft queues, behind the commit of a transaction that has a search_path of its own, the question for that of the session. The
// save cannot tell: a handler may have set for the session what holds in the transaction, as who puts back what he has found does.
func (w *working) queueLeft(batch *pgx.Batch) {
	if w.path == "" {
		return
	}
	batch.Queue("select current_setting('search_path')").QueryRow(func(row pgx.Row) error { return row.Scan(&w.left) })
}

// samePath reports whether the search_path of the session is what it was.
func (w *working) samePath() bool {
	if w.path != "" {
		return w.left == w.before.path
	}
	return w.after.path == w.before.path
}

// watch gives a reader to each statement that a handler has queued without one, and notes a LISTEN among them.
func (w *working) watch(queued []*pgx.QueuedQuery) {
	note := func(results pgx.BatchResults) error { // one for all, since there may be thousands
		tag, err := results.Exec()
		w.listens = w.listens || tag.String() == listen
		return err
	}
	for _, q := range queued {
		if q.Fn == nil {
			q.Fn = note
		}
	}
}

// scanSave reads the result of a save, with where its rows are now into at.
func (w *working) scanSave(row pgx.Row, at *catchup.Saved) error {
	at.Role, at.Path = w.before.role, w.before.path // which are mostly what it finds
	err := row.Scan(at)
	if w.saved = err == nil; w.saved {
		w.after.role, w.after.path, w.hadTables = at.Role, at.Path, at.HadTables
	}
	return err
}

// own returns the error of a statement of the worker's own with its meaning: one that a handler's settings may have caused is
// tried again behind restore.sql, and one in a transaction that a handler has left in ruins is the handler's. The end of the session
// is not judged here. what names the statement; w is nil without a handler.
func (w *working) own(what string, err error) error {
	if !IsRefusal(err) {
		return err
	}
	switch state := sqlState(err); {
	case w == nil:
	case state == "25P02": // in_failed_sql_transaction
		return told{fmt.Errorf("%w: %w", errIgnored, err)}
	case state == "42501" || state == "57014" || state == "55P03": // insufficient_privilege, query_canceled, lock_not_available
		if !w.restores.Swap(true) {
			return restoreError{err}
		}
	}
	return refusal(what, err)
}

// clean closes the connection of a transaction that has committed if its session is not what it was before: the settings and
// temporary tables of one handler must not meet the statements of another. What was set for the transaction alone is gone with
// it, so the session is looked at once more where something differed within.
func (w *working) clean(ctx context.Context, conn *pgx.Conn) {
	if w.isClean() {
		return
	}
	if w.lent {
		_ = conn.Close(ctx)
		return
	}
	if now, err := readState(ctx, conn); err != nil || now != w.before {
		_ = conn.Close(ctx)
	}
}

// isClean reports whether the session is what it was before, as far as the save has found. w may be nil.
func (w *working) isClean() bool {
	if w == nil {
		return true
	}
	same := w.after.role == w.before.role && w.samePath() && !w.restores.Load() // which masks a role of the session
	return same && !w.hadTables && !w.listens && !w.lent
}

// InTransaction calls f in a working transaction that commits synchronously if f returns nil, whose statements take limit at
// most. presence is that of the worker: others end the transaction if it is dead. f calls restore between what it lets a handler do and the statements of its own; restore fails where the handler has
// ended the transaction.
func InTransaction(ctx context.Context, pool *db.Pool, presence int32, limit time.Duration, f func(tx pgx.Tx, restore func() error) error) error {
	t := transactions{pool: pool, limit: limit, presence: presence, restores: &atomic.Bool{}}
	t.restores.Store(true)
	conn, err := t.acquire(ctx)
	if err != nil {
		return err
	}
	tx, w, err := t.begin(ctx, conn, nil)
	if err == nil {
		err = f(tx, func() error { return w.restore(ctx, tx) })
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	return t.release(ctx, conn, w, err)
}

// restore is queueRestore at once, with the test that the save makes otherwise.
func (w *working) restore(ctx context.Context, tx pgx.Tx) error {
	if err := w.restoreForms(ctx, tx.Conn()); err != nil {
		return err
	}
	var batch pgx.Batch
	w.queueRestore(&batch)
	var name string
	batch.Queue("select coalesce(current_setting('rouse.work', true), '')").QueryRow(func(row pgx.Row) error { return row.Scan(&name) })
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if name != w.name {
		return errEndedByHandler
	}
	return nil
}
