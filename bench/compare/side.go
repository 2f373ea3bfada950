package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	statementTimeout = time.Minute
	longTimeout      = 10 * time.Minute // of what goes over a whole history

	// aggregates is how many a history is spread over.
	aggregates = 1000
)

// side is one way to keep the read model up to date. Its methods are called one at a time.
type side interface {
	// create makes the log, in the schema that the pool's search_path names.
	create(ctx context.Context) error
	// fill appends a history.
	fill(ctx context.Context, events int64) error
	// append appends one event, in a transaction of its own.
	append(ctx context.Context, conn *pgx.Conn, aggregate string, version int) error
	// limit is the most events of a history that this side is given, because more would take too long; 0: all.
	limit() int64
	// emptySQL removes all events.
	emptySQL() string
	// rewind makes the next worker start from the beginning.
	rewind(ctx context.Context) error
	// start starts a worker, and returns when it would be told of an event. It counts into the read model unless idle is
	// set, which writes nothing but how far it has come. committed is told of every committed transaction, on the worker's
	// goroutine.
	start(ctx context.Context, idle bool, committed func(events int)) (*worker, error)
}

// place is where a side works.
type place struct{ pool *pgxpool.Pool }

// newPlace makes the schema, and the read model in it.
//
// No worker's commit waits for the disk: Rouse and the naive one ask for that themselves, and here it is asked for all.
func newPlace(ctx context.Context, address, schema string) (place, error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return place{}, err
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = schema
	cfg.ConnConfig.RuntimeParams["application_name"] = "compare " + schema
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	cfg.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return place{}, err
	}
	p := place{pool}
	if err := p.exec(ctx, "create schema "+pgx.Identifier{schema}.Sanitize()); err != nil {
		pool.Close()
		return place{}, err
	}
	return p, p.exec(ctx, sqlCounts)
}

// aggregateOf is the aggregate of the nth event of a history.
func aggregateOf(n int64) string { return fmt.Sprint("a", n%aggregates) }

// limit is that of a side that is given everything.
func (place) limit() int64 { return 0 }

// appendBy appends by a statement. $1: aggregate id, $2: its version.
func appendBy(ctx context.Context, conn *pgx.Conn, sql, aggregate string, version int) error {
	_, err := conn.Exec(ctx, sql, aggregate, version)
	return err
}

// exec runs one statement.
func (p place) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	_, err := p.pool.Exec(ctx, sql, args...)
	return err
}

// script runs statements without parameters.
func (p place) script(ctx context.Context, statements string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return p.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		_, err := conn.Conn().PgConn().Exec(ctx, statements).ReadAll()
		return err
	})
}

// number reads one number.
func (p place) number(ctx context.Context, sql string) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = p.pool.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// counted is what the read model has.
func (p place) counted(ctx context.Context) (int64, error) {
	return p.number(ctx, "select coalesce(sum(events), 0)::bigint from counts")
}

// worker is one that runs.
type worker struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed at its end
	err    error         // how it ended; valid once ended is closed
}

// begin runs a worker on a goroutine of its own.
func begin(ctx context.Context, run func(ctx context.Context) error) *worker {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = run(ctx)
	}()
	return w
}

// stop ends it and waits for that.
func (w *worker) stop() error {
	w.cancel()
	<-w.ended
	if errors.Is(w.err, context.Canceled) {
		return nil
	}
	return w.err
}

// fault says why it ended.
func (w *worker) fault() error {
	<-w.ended
	return fmt.Errorf("compare: the worker has ended: %w", w.err)
}
