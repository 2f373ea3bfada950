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

	onFailure OnFailure

	presence int32 // the key under which others find the sessions that work for this process

	projection Projection
	batch      BatchProjection // nil: Apply only
	effect     Effect          // nil: a projection
}

// ending is how a working transaction ends: statements of the worker's own, the save, and the commit that it guards.
type ending struct {
	save catchup.Save
	also []func(batch *pgx.Batch) // queue statements whose results are read
}

// partitions are those that the save moves.
func (e ending) partitions() []int {
	partitions := make([]int, len(e.save.Fences))
	for i, f := range e.save.Fences {
		partitions[i] = f.Partition
	}
	return partitions
}

// together handles all events and saves, in one transaction and, for a BatchProjection, in one round trip.
func (k *work) together(ctx context.Context, events []eventstore.Event, end ending) error {
	if k.batch != nil {
		return k.pipelined(ctx, events, end)
	}
	return k.applied(ctx, events, end)
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
// reads results. The save raises in the server, so nothing after it happens when the fence is broken. Nothing is heard of any
// of it before all is done, so when the handler's time is up it may have been the save that waited.
func (k *work) pipelined(parent context.Context, events []eventstore.Event, end ending) error {
	ctx, cancel := k.limited(parent)
	defer cancel()
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed read write")
	batch.Queue(sqlWork, k.settings()...)
	if err := guarded(ctx, func() error { return k.batch.ApplyBatch(ctx, &batch, events) }); err != nil {
		return err
	}
	err := k.acquire(ctx, func(conn *pgx.Conn) error { return k.send(ctx, conn, &batch, end) })
	if errors.Is(err, errTimeout) && !isHung(err) && k.held(parent, end) {
		return outage{fmt.Errorf("%w: %w", errHeld, err)}
	}
	return err
}

// held tells whether another session holds a checkpoint that end has to move.
func (k *work) held(ctx context.Context, end ending) bool {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var free int
	err := k.pool.QueryRow(ctx, sqlFree, end.save.Projection, end.partitions()).Scan(&free)
	return err == nil && free < len(end.save.Fences)
}

// send sends what a handler has queued, and ends the transaction behind it.
func (k *work) send(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch, end ending) error {
	if !readsResults(batch) {
		queueEnd(batch, end)
		return conn.SendBatch(ctx, batch).Close()
	}
	if err := guarded(ctx, conn.SendBatch(ctx, batch).Close); err != nil { // which calls back into the handler
		return err
	}
	return k.finish(ctx, conn, end)
}

// finish ends a transaction.
func (k *work) finish(ctx context.Context, conn *pgx.Conn, end ending) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var batch pgx.Batch
	queueEnd(&batch, end)
	err := conn.SendBatch(ctx, &batch).Close()
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w, or the server is silent: %w", errHeld, err)
	}
	return err
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
		exec(q)
	}
	return reads
}

// applied is the way of a Projection without a batch form: one call for each event, in one transaction.
func (k *work) applied(ctx context.Context, events []eventstore.Event, end ending) error {
	return k.acquire(ctx, func(conn *pgx.Conn) error {
		tx, err := k.begin(ctx, conn, nil)
		if err != nil {
			return err
		}
		if err := k.apply(ctx, tx, events); err != nil {
			return err
		}
		return k.finish(ctx, conn, end)
	})
}

// begin begins a working transaction. first, if there is one, queues what comes before the handler.
func (k *work) begin(ctx context.Context, conn *pgx.Conn, first func(batch *pgx.Batch)) (pgx.Tx, error) {
	var batch pgx.Batch
	batch.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	batch.Queue(sqlWork, k.settings()...)
	if first != nil {
		first(&batch)
	}
	readsResults(&batch)
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	results := conn.SendBatch(ctx, &batch)
	tx := results.Tx()
	return tx, results.Close()
}

func (k *work) apply(ctx context.Context, tx pgx.Tx, events []eventstore.Event) error {
	for _, ev := range events {
		if err := k.call(ctx, ev, func(ctx context.Context) error { return k.projection.Apply(ctx, handlerTx{tx}, ev) }); err != nil {
			return err
		}
	}
	return nil
}

// within handles events in a transaction that has begun already, and ends it.
func (k *work) within(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, events []eventstore.Event, end ending) error {
	switch {
	case len(events) == 0 || k.effect != nil:
		return k.finish(ctx, conn, end)
	case k.batch == nil:
		if err := k.apply(ctx, tx, events); err != nil {
			return err
		}
		return k.finish(ctx, conn, end)
	}
	ctx, cancel := k.limited(ctx)
	defer cancel()
	var batch pgx.Batch
	if err := guarded(ctx, func() error { return k.batch.ApplyBatch(ctx, &batch, events) }); err != nil {
		return err
	}
	err := k.send(ctx, conn, &batch, end)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
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
func (k *work) save(ctx context.Context, end ending) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed read write")
	limit := fmt.Sprintf("%dms", saveTimeout.Milliseconds())
	batch.Queue(sqlWork, k.async, limit, limit, k.presence)
	queueEnd(&batch, end)
	return k.acquire(ctx, func(conn *pgx.Conn) error { return conn.SendBatch(ctx, &batch).Close() })
}

// queueEnd queues the end of a transaction.
func queueEnd(batch *pgx.Batch, end ending) {
	for _, also := range end.also {
		also(batch)
	}
	end.save.Queue(batch).Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if clientFenced && err == nil && tag.RowsAffected() < int64(len(end.save.Fences)) {
			err = catchup.ErrFenced
		}
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
