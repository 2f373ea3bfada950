package apply

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

const (
	// saveTimeout bounds the wait for a connection, and the worker's own transactions, in which no handler works.
	saveTimeout = 10 * time.Second

	// endlessCommit bounds the end of a handler's transaction where Handler.Timeout sets no limit: as long as a reset may take.
	endlessCommit = 10 * time.Minute
)

// transactions begins and ends working transactions. Its methods may be called by several goroutines.
type transactions struct {
	pool     *db.Pool
	limit    time.Duration          // of one call of the handler; 0: none
	async    bool                   // commit without waiting for the disk
	effects  bool                   // the handler has no statements in these transactions
	presence int32                  // the key by which other workers find the sessions that work for this process
	restores *atomic.Bool           // see working
	plain    atomic.Pointer[string] // the last statement of a handler's that may go without begin and commit
}

// txEnd is the end of a working transaction: the worker's own statements, the save, and the commit that the save
// guards.
type txEnd struct {
	forget []int64            // positions of events whose attempts are deleted
	park   []parking          // events to set aside
	done   []eventstore.Event // the first events of one queue, to take out of it
	more   *bool              // written with done: others are left in that queue
	save   catchup.Save
	at     *catchup.Saved // written with the save: where its rows are now; nil: nobody asks
	tell   telling        // those who wait for what is saved
}

// noteSpots notes where the save has put the rows of fences, which are those that it was made of, if it has said so. It has committed.
func (e txEnd) noteSpots(fences []*catchup.Fence) {
	for i, spot := range e.save.Spots(*e.at) {
		fences[i].Spot = spot
	}
}

// partitions returns the partitions that the save moves.
func (e txEnd) partitions() []int {
	partitions := make([]int, len(e.save.Fences))
	for i, f := range e.save.Fences {
		partitions[i] = f.Partition
	}
	return partitions
}

// queue queues the statements of e, in the order of its fields, and the commit. w is the transaction that a handler has
// worked in, nil without a handler.
func (e txEnd) queue(batch *pgx.Batch, w *working) {
	schema, projection := e.save.Schema, e.save.Projection
	if w != nil {
		defer w.queueForms(batch, batch.Len(), schema) // before what is queued here, once that is known
		w.queueRestore(batch)
		e.save.Work = w.name
	}
	if len(e.forget) > 0 {
		w.exec("to forget attempts", batch.Queue(sqlAttemptsForget.In(schema), projection, e.forget))
	}
	if len(e.park) > 0 {
		w.exec("to park events", queuePark(batch, schema, projection, e.park))
	}
	if len(e.done) > 0 {
		queueDone(batch, schema, projection, e.done, e.more)
	}
	at := e.at
	e.save.Queue(batch).Fn = func(results pgx.BatchResults) error {
		into := at
		if into == nil {
			into = new(catchup.Saved)
		}
		if w == nil {
			return w.saveError(results.QueryRow().Scan(into))
		}
		return w.saveError(w.scanSave(results.QueryRow(), into))
	}
	w.queueStray(batch, schema)
	e.queueReply(batch, w)
	if w.isImplicit() {
		return
	}
	batch.Queue("commit").Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" { // the server answers ROLLBACK where there is nothing left to commit
			return told{errEndedByHandler}
		}
		return w.commitError(err)
	}
	if w != nil {
		w.queueLeft(batch)
	}
}

// saveError returns the error of a save's statement with its meaning. w is nil without a handler.
func (w *working) saveError(err error) error {
	switch err = catchup.SaveError(err); {
	case err == nil:
		return nil
	case errors.Is(err, catchup.ErrFenced):
		return outage{err}
	case errors.Is(err, catchup.ErrEnded):
		return told{Permanent(fmt.Errorf("%w: %w", errEndedByHandler, err))}
	case IsReadOnly(err) && w != nil: // it was begun to read and write
		return told{Permanent(fmt.Errorf("%w: %w", errReadOnlyByHandler, err))}
	case sqlState(err) == "55P03": // lock_not_available; the save has set its own limit
		return outage{fmt.Errorf("%w: %w", ErrHeld, err)}
	}
	return w.own("the save of the checkpoints", err)
}

// commitError returns the error of a commit with its meaning: what fails it are deferred constraints, which are the handler's
// statements, and other transactions.
func (w *working) commitError(err error) error {
	switch {
	case err == nil || !IsRefusal(err):
		return err
	case w == nil:
		return refusal("a commit", err)
	}
	return ofStatement(err, true)
}

// name returns a name for a working transaction, which no other of its session has.
func name() string { return strconv.FormatUint(rand.Uint64(), 36) }

// queueBegin queues the begin of a transaction. A database that refuses it because it may only be read has become a standby; in a
// transaction that has begun, only a handler can cause that error.
func queueBegin(batch *pgx.Batch) {
	batch.Queue(db.BeginWrite).Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return beginError(err)
	}
}

// beginError returns the error of a begin with its meaning.
func beginError(err error) error {
	if err = db.BeginError(err); errors.Is(err, db.ErrStandby) {
		return outage{err}
	}
	if IsRefusal(err) && !isJudged(err) {
		return refusal("the begin of a transaction", err)
	}
	return err
}

// acquire takes a connection from the pool, which release gives back. Its error is an outage.
func (t *transactions) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := db.Acquire(ctx, t.pool)
	if err != nil {
		return nil, outage{fmt.Errorf("rouse: connect to handle events: %w", err)}
	}
	return conn, nil
}

// release gives conn back after its work under ctx ended with err, and returns err with its meaning: a timeout if the
// handler's time was up, otherwise what lost says if the connection was left closed. A connection left in a transaction is
// rolled back. One whose session the handler has changed is closed; w is what was begun on it, nil without a handler.
func (t *transactions) release(ctx context.Context, conn *pgxpool.Conn, w *working, err error) error {
	defer conn.Release() // which does nothing to a hijacked one
	if err == nil && w.isClean() {
		return nil
	}
	cleanCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	switch {
	case err == nil:
		w.clean(cleanCtx, conn.Conn())
		return nil
	case Hung(err) != nil:
		// The handler may still use the connection. The one thing that may be done to it meanwhile is to cut it, upon which
		// the server rolls back.
		_ = conn.Hijack().PgConn().Conn().Close()
		return err
	case errors.Is(err, errTimeout):
		return fmt.Errorf("%w (limit %s): %w", errTimeout, t.limit, err)
	case conn.Conn().IsClosed():
		conn.Release() // before lost asks for another
		return t.lost(ctx, w, err)
	}
	// A pool throws a connection away that is still in a transaction, and one that a lock of the handler's was left on.
	rollback := "rollback"
	if w != nil {
		rollback = "rollback; select pg_advisory_unlock_all()"
	}
	if _, rollbackErr := conn.Conn().PgConn().Exec(cleanCtx, rollback).ReadAll(); rollbackErr != nil {
		_ = conn.Conn().Close(cleanCtx)
	}
	return err
}

// begin begins a working transaction. If held is not nil, it also asks which of held's aggregates still have parked
// events.
func (t *transactions) begin(ctx context.Context, conn *pgxpool.Conn, held *heldQueue) (pgx.Tx, *working, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var batch pgx.Batch
	batch.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	w := t.queueWork(&batch)
	if err := t.start(ctx, w, conn.Conn()); err != nil {
		return nil, nil, err
	}
	if held != nil {
		held.queue(&batch)
	}
	ReadUnreadResults(&batch)
	results := conn.SendBatch(ctx, &batch)
	tx := results.Tx()
	return tx, w, begun(results.Close())
}

// begun returns the error of what stands before a handler's first statement as that of the worker's own.
func begun(err error) error {
	if err = beginError(err); err == nil || isJudged(err) {
		return err
	}
	return outage{fmt.Errorf("rouse: begin to handle events: %w", err)}
}

// commitLimit bounds the end of a handler's transaction: its deferred constraints are its statements, so they have the time of a
// call. The save before the commit bounds its own wait (saveLock).
func (t *transactions) commitLimit() time.Duration {
	if t.limit <= 0 {
		return endlessCommit
	}
	return max(t.limit, saveTimeout)
}

// saveLock is how long a save waits for checkpoints that another session holds: half of the limit of a call, so that a handler
// whose statements travel with the save has its whole limit, and the two together half as much again; db.LockTimeout at most.
func (t *transactions) saveLock() time.Duration {
	if t.limit <= 0 {
		return db.LockTimeout
	}
	return min(t.limit/2, db.LockTimeout)
}

// finish sends end, which ends the transaction of conn.
func (t *transactions) finish(parent context.Context, conn *pgxpool.Conn, w *working, end txEnd) error {
	ctx, cancel := context.WithTimeout(parent, t.commitLimit())
	defer cancel()
	var batch pgx.Batch
	end.save.Wait = t.saveLock()
	end.queue(&batch, w)
	err := w.restoreForms(ctx, conn.Conn())
	if err == nil {
		err = conn.SendBatch(ctx, &batch).Close()
	}
	switch {
	case err == nil || isJudged(err):
		return err
	case ctx.Err() != nil && parent.Err() == nil:
		return fmt.Errorf("%w (limit %s): %w", errSlowCommit, t.commitLimit(), err)
	case conn.Conn().IsClosed():
		return err
	case pgconn.SafeToRetry(err): // a goroutine of the handler's is on the connection
		return told{fmt.Errorf("%w: %w", errBusy, err)}
	}
	return outage{fmt.Errorf("rouse: end a transaction: %w", err)}
}

// save commits end in a transaction without a handler: for idle partitions, for effects that have been done, and for events that
// are given up. Before it takes anything out of a queue it locks the partition, as everybody does.
func (t *transactions) save(ctx context.Context, end txEnd) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var batch pgx.Batch
	queueBegin(&batch)
	limit := db.Milliseconds(saveTimeout)
	queued := t.queueSettings(&batch)
	if len(end.done) > 0 {
		own("to lock a partition", batch.Queue(sqlParkedHold.In(t.pool.Schema), end.save.Projection, end.partitions()))
	}
	end.queue(&batch, nil)
	pass, err := db.Enter(ctx, t.pool)
	if err != nil {
		return outage{fmt.Errorf("rouse: wait to save the checkpoints: %w", err)}
	}
	defer pass.Leave()
	conn, err := t.acquire(ctx)
	if err != nil {
		return err
	}
	t.set(queued, conn.Conn(), settings{limit: limit, idle: limit})
	err = t.release(ctx, conn, nil, conn.SendBatch(ctx, &batch).Close())
	if err != nil && !isJudged(err) {
		return outage{fmt.Errorf("rouse: save the checkpoints: %w", err)}
	}
	return err
}

// ReadUnreadResults gives a reader to each queued statement that has none. Without one, pgx reports its error as that
// of the next statement with a reader, in the modes that poolers need, and a division by zero would pass for a broken
// fence.
func ReadUnreadResults(batch *pgx.Batch) {
	for _, q := range batch.QueuedQueries {
		if q.Fn == nil {
			exec(q)
		}
	}
}

// readsResults reports whether one of the statements that a handler has queued has a reader.
func readsResults(queued []*pgx.QueuedQuery) bool {
	for _, q := range queued {
		if q.Fn != nil {
			return true
		}
	}
	return false
}

// exec gives q, a statement of the worker's own behind a handler's, a reader that returns its error with its meaning for w. what
// names it.
func (w *working) exec(what string, q *pgx.QueuedQuery) {
	q.Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return w.own(what, err)
	}
}

// own gives q, a statement of the worker's own before a handler's, a reader that judges its error. what names it.
func own(what string, q *pgx.QueuedQuery) {
	q.Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		if IsRefusal(err) {
			return refusal(what, err)
		}
		return err
	}
}
