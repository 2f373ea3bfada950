package apply

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// statementLimit returns the server's limit for a statement of a handler, with its unit. The client's time limit comes first;
// the server's is for a client that is frozen. Between two statements the handler may compute for as long as one call may take.
func (t *transactions) statementLimit() string {
	if t.limit <= 0 {
		return "0"
	}
	return db.Milliseconds(t.limit + saveTimeout)
}

// queueWork queues the settings of a transaction that has begun, in which a handler will work, and returns it.
func (t *transactions) queueWork(batch *pgx.Batch) *working {
	w := &working{name: name(), limit: t.statementLimit(), restores: t.restores, within: t.pool.Ahead}
	w.settings = t.queueSettings(batch)
	return w
}

// queueSettings queues the settings of a transaction, which set completes once its connection is known.
func (t *transactions) queueSettings(batch *pgx.Batch) *pgx.QueuedQuery {
	return batch.Queue(sqlWork.In(t.pool.Schema))
}

// settings are what work.sql sets besides what is the same in all transactions, and what a connection needs.
type settings struct {
	limit string // of a statement
	idle  string // how long the session may be idle before the server ends it
	name  string // of the transaction, "" if nobody tests it
	path  string // the search_path; "": as the session has it
}

// set completes queued, which queueSettings has queued, for conn.
func (t *transactions) set(queued *pgx.QueuedQuery, conn *pgx.Conn, s settings) {
	needs := db.NeedsOf(conn)
	queued.Arguments = []any{t.async, s.limit, s.idle, t.presence, s.name, needs.Forms, needs.Unlimited, nil}
	if s.path != "" {
		queued.Arguments[7] = s.path
	}
	own("the settings of a transaction", queued)
}

// look notes the state of the session of conn, on which w is to begin, and the search_path of the handler. The first time it asks the
// session.
func (t *transactions) look(ctx context.Context, w *working, conn *pgx.Conn) error {
	state, err := stateOf(ctx, conn)
	if err != nil {
		return begun(err)
	}
	w.before = state
	if w.path = t.pool.Path(); w.path != "" && state.path != "" {
		w.path += ", " + state.path
	}
	return nil
}

// start completes the settings of w for conn.
func (t *transactions) start(ctx context.Context, w *working, conn *pgx.Conn) error {
	if err := t.look(ctx, w, conn); err != nil {
		return err
	}
	t.set(w.settings, conn, settings{limit: w.limit, idle: w.limit, name: w.name, path: w.path})
	return nil
}
