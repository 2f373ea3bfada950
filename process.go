package rouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
)

// saveTimeout bounds the wait for a connection, and the statements that begin or end a transaction.
const saveTimeout = 10 * time.Second

// outage marks an error that is the database's or the network's, not a handler's: nothing counts, everything is done again.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// work is what is done with the events of one projection, by one of three kinds of handler.
type work struct {
	pool    *pgxpool.Pool
	timeout time.Duration // of one call of the handler; 0: no limit
	async   bool          // commit without waiting for the disk
	scope   scope

	presence int32 // the key under which others find the sessions that work for this process

	projection Projection
	batch      BatchProjection // nil: Apply only
	effect     Effect          // nil: a projection
}

// together handles all events and saves, in one transaction and, for a BatchProjection, in one round trip.
func (k *work) together(ctx context.Context, events []eventstore.Event, save catchup.Save) error {
	if k.batch != nil {
		return k.pipelined(ctx, events, save)
	}
	return k.applied(ctx, events, save)
}

// limited gives one call of the handler its time.
func (k *work) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if k.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, k.timeout, errTimeout)
}

// settings are the arguments of work.sql. The client's limit comes first; the server's is for a client that is frozen. Between
// two statements the handler may compute for as long as it may run at all.
func (k *work) settings() []any {
	if k.timeout <= 0 {
		return []any{k.async, "0", "0", k.presence}
	}
	limit := fmt.Sprintf("%dms", (k.timeout + saveTimeout).Milliseconds())
	return []any{k.async, limit, limit, k.presence}
}

// acquire takes a connection and gives it to f. An error of f that left the connection closed is an outage, unless the
// handler's time was up; one that left it in a transaction has it rolled back.
func (k *work) acquire(ctx context.Context, f func(conn *pgx.Conn) error) error {
	// A pool asks a connection that was idle whether it is alive, for as long as it may; one that went silent never answers.
	acquireCtx, cancelAcquire := context.WithTimeout(ctx, saveTimeout)
	conn, err := k.pool.Acquire(acquireCtx)
	cancelAcquire()
	if err != nil {
		return outage{fmt.Errorf("rouse: connect to handle events: %w", err)}
	}
	defer conn.Release() // which does nothing to one that was hijacked
	err = f(conn.Conn())
	var hung *hungError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &hung):
		// The handler may still use the connection. The one thing that may be done to it meanwhile is to cut it, upon which
		// the server rolls back.
		_ = conn.Hijack().PgConn().Conn().Close()
		return err
	case errors.Is(context.Cause(ctx), errTimeout), errors.Is(err, errTimeout):
		return fmt.Errorf("%w (limit %s): %w", errTimeout, k.timeout, err)
	case conn.Conn().IsClosed(), isOutage(err):
		return outage{err}
	}
	rollbackCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	_, _ = conn.Exec(rollbackCtx, "rollback") // the connection is thrown away by the pool if this fails
	return err
}

// pipelined is the way of a BatchProjection: begin, effects, save and commit in one round trip, or in two if the handler
// reads results. The save raises in the server, so nothing after it happens when the fence is broken.
func (k *work) pipelined(ctx context.Context, events []eventstore.Event, save catchup.Save) error {
	ctx, cancel := k.limited(ctx)
	defer cancel()
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed read write")
	batch.Queue(sqlWork, k.settings()...)
	err := guarded(ctx, func() error { return k.batch.ApplyBatch(ctx, &batch, events) })
	if err != nil {
		return err
	}
	reads := readsResults(&batch)
	if !reads {
		queueSave(&batch, save)
	}
	return k.acquire(ctx, func(conn *pgx.Conn) error {
		err := guarded(ctx, conn.SendBatch(ctx, &batch).Close) // which may call back into the handler
		if err != nil || !reads {
			return err
		}
		var end pgx.Batch
		queueSave(&end, save)
		return conn.SendBatch(ctx, &end).Close()
	})
}

// readsResults tells whether the handler reads the results of what it has queued. It may refuse them, so the commit must not
// be sent before it has. A statement whose result nobody reads gets a reader here: without one, pgx reports its error as that
// of the next statement with a reader, in the modes that poolers need, and a division by zero would pass for a broken fence.
func readsResults(batch *pgx.Batch) bool {
	reads := false
	for _, q := range batch.QueuedQueries {
		if q.Fn != nil {
			reads = true
			continue
		}
		q.Fn = func(results pgx.BatchResults) error {
			_, err := results.Exec()
			return err
		}
	}
	return reads
}

// applied is the way of a Projection without a batch form: one call for each event, in one transaction.
func (k *work) applied(ctx context.Context, events []eventstore.Event, save catchup.Save) error {
	return k.acquire(ctx, func(conn *pgx.Conn) error {
		var begin pgx.Batch
		begin.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
		begin.Queue(sqlWork, k.settings()...)
		beginCtx, cancelBegin := context.WithTimeout(ctx, saveTimeout)
		defer cancelBegin()
		results := conn.SendBatch(beginCtx, &begin)
		tx := results.Tx()
		if err := results.Close(); err != nil {
			return err
		}
		for _, ev := range events {
			if err := k.call(ctx, ev, func(ctx context.Context) error { return k.projection.Apply(ctx, handlerTx{tx}, ev) }); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, saveTimeout)
		defer cancel()
		var end pgx.Batch
		queueSave(&end, save)
		return conn.SendBatch(ctx, &end).Close()
	})
}

// call calls a handler with one event within its time and turns a panic into an error.
func (k *work) call(ctx context.Context, ev eventstore.Event, f func(ctx context.Context) error) error {
	ctx, cancel := k.limited(ctx)
	defer cancel()
	err := guarded(ctx, func() error { return f(ctx) })
	var hung *hungError
	if errors.As(err, &hung) {
		hung.events = []eventstore.Event{ev}
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}

// save saves without events, for idle partitions and for effects that have been done.
func (k *work) save(ctx context.Context, save catchup.Save) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed read write")
	limit := fmt.Sprintf("%dms", saveTimeout.Milliseconds())
	batch.Queue(sqlWork, k.async, limit, limit, k.presence)
	queueSave(&batch, save)
	return k.acquire(ctx, func(conn *pgx.Conn) error { return conn.SendBatch(ctx, &batch).Close() })
}

// queueSave queues the save and the commit that it guards.
func queueSave(batch *pgx.Batch, save catchup.Save) {
	save.Queue(batch).Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		if migrations.Lacking(err) { // of the checkpoints, which is no fault of the handler's
			return outage{err}
		}
		return catchup.SaveError(err)
	}
	batch.Queue("commit").Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" { // the server answers ROLLBACK where there is nothing left to commit
			return errEnded
		}
		return err
	}
}

// handlerTx is the transaction that a Projection gets: it cannot end it.
type handlerTx struct{ pgx.Tx }

func (handlerTx) Commit(context.Context) error   { return errEnded }
func (handlerTx) Rollback(context.Context) error { return errEnded }
