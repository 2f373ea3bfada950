package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// runner runs the handler of one projection in a working transaction, with one method for each way.
type runner struct {
	handler Handler
	tx      transactions
	joint   *Joint // nil: there is no other projection
	apart   *apart // from joint
}

// runPipelined runs a batch handler: begin, effects, save and commit in one round trip, in another one if the handler reads
// results. The save raises in the server, so nothing after it happens when a fence is broken. Where the transaction has a
// search_path of its own it begins apart: pgx asks the server about statements that are new to the connection before it sends the
// first of a batch, and what the handler's name is found under that path.
func (r *runner) runPipelined(ctx context.Context, events []eventstore.Event, end txEnd) error {
	const mostly = 4 // settings, the statement of a handler, the save, and one more
	batch := pgx.Batch{QueuedQueries: make([]*pgx.QueuedQuery, 0, mostly)}
	var w *working // nil: it begins apart
	if r.tx.pool.Path() == "" {
		w = r.tx.queueWork(&batch)
	}
	before := len(batch.QueuedQueries)
	left, err := r.queueEvents(ctx, &batch, events)
	if err != nil {
		return err
	}
	if p := r.joint.part(events, batch.QueuedQueries[before:], end, &r.tx, r.apart); p != nil && r.joint.commit(ctx, p) {
		return nil
	}
	pass, err := db.Enter(ctx, r.tx.pool)
	if err != nil {
		return outage{fmt.Errorf("rouse: wait to handle events: %w", err)}
	}
	defer pass.Leave()
	began := time.Now()
	conn, err := r.tx.acquire(ctx)
	if err != nil {
		return err
	}
	if w == nil {
		_, w, err = r.tx.begin(ctx, conn, nil)
	} else {
		before, err = r.tx.beginWith(ctx, w, conn.Conn(), &batch, end)
	}
	if err == nil {
		err = r.send(ctx, left, conn, &batch, before, w, end)
	}
	if err = r.tx.release(ctx, conn, w, err); err == nil && r.apart != nil {
		r.apart.went(time.Since(began))
	}
	return err
}

// queueEvents calls the handler to queue the statements of events, and returns what is left of the time of a call, for the
// statements; 0: no limit.
func (r *runner) queueEvents(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) (left time.Duration, err error) {
	ctx, cancel := limited(ctx, r.tx.limit)
	defer cancel()
	began := time.Now()
	err = guarded(ctx, func() error { return r.handler.ApplyBatch(ctx, batch, events) })
	left = r.tx.limit - time.Since(began)
	switch {
	case Hung(err) != nil:
		return 0, err
	case r.tx.limit > 0 && left <= 0:
		return 0, told{fmt.Errorf("%w (limit %s): %w", errTimeout, r.tx.limit, errors.Join(err, ctx.Err()))}
	case err != nil:
		return 0, told{err}
	}
	return max(left, 0), nil
}

// send sends batch, whose statements behind the first before ones are the handler's, and ends the transaction behind them. A
// handler that reads results may refuse one, so then the commit must wait until it has read them. left is the time of the
// handler's statements. The server answers only when all is done, so those that travel with the save have the time of its wait
// besides: a batch that exceeds both was too slow, and one that waited is told so by its save.
func (r *runner) send(ctx context.Context, left time.Duration, conn *pgxpool.Conn, batch *pgx.Batch, before int, w *working, end txEnd) error {
	handlers := batch.QueuedQueries[before:]
	reads := readsResults(handlers)
	w.watch(handlers)
	if !reads {
		end.save.Wait = r.tx.saveLock()
		end.queue(batch, w)
		if left > 0 {
			left += end.save.Wait
		}
	}
	limitedCtx, cancel := limited(ctx, left)
	defer cancel()
	var err error
	if reads {
		err = guarded(limitedCtx, conn.SendBatch(limitedCtx, batch).Close) // which calls back into the handler
	} else {
		err = conn.SendBatch(limitedCtx, batch).Close()
	}
	switch {
	case Hung(err) != nil:
		return err
	case err != nil && errors.Is(context.Cause(limitedCtx), errTimeout):
		return fmt.Errorf("%w: %w", errTimeout, err)
	case err != nil:
		return ofBatch(conn.Conn(), handlers, w.ended(err), w.isImplicit())
	case !reads:
		return nil
	}
	return r.tx.finish(ctx, conn, w, end)
}

// runEach runs a handler of single events: one call for each event, in one transaction. It returns how many of the first
// events that were when left was over; upTo returns the end of their transaction.
func (r *runner) runEach(ctx context.Context, left *budget, events []eventstore.Event, upTo func(done int) txEnd) (done int, err error) {
	conn, err := r.tx.acquire(ctx)
	if err != nil {
		return 0, err
	}
	tx, w, err := r.tx.begin(ctx, conn, nil)
	if err == nil {
		done, err = r.applyEach(ctx, left, tx, w, events)
	}
	if err == nil {
		err = r.tx.finish(ctx, conn, w, upTo(done))
	}
	return done, r.tx.release(ctx, conn, w, err)
}

// leftBehind returns the fault in what a handler that returned no error has left of its transaction, before another event is handled in it
// or outside of any.
func leftBehind(conn *pgx.Conn) error {
	switch {
	case conn.PgConn().IsBusy():
		return errBusy
	case conn.PgConn().TxStatus() == 'I':
		return Permanent(errEndedByHandler)
	case conn.PgConn().TxStatus() == 'E':
		return errIgnored
	}
	return nil
}

// runBehindParked handles events of which some may belong behind parked ones. It locks the partitions before it asks
// which aggregates are still parked, so the answer is true until the commit; that costs a round trip more, and only
// such batches pay for it. It returns the aggregates that are still parked and the number of events that were handled
// when left was over; upTo returns the end of the transaction of the first events, and the others among those are
// parked.
func (r *runner) runBehindParked(ctx context.Context, left *budget, events []eventstore.Event, upTo func(done int) txEnd, behind aggregates) (still aggregates, handled int, err error) {
	conn, err := r.tx.acquire(ctx)
	if err != nil {
		return nil, 0, err
	}
	all := upTo(len(events))
	held := heldQueue{schema: all.save.Schema, projection: all.save.Projection, partitions: all.partitions(), of: behind}
	tx, w, err := r.tx.begin(ctx, conn, &held)
	if err == nil {
		free := slices.DeleteFunc(slices.Clone(events), held.still.has)
		handled, err = r.runIn(ctx, left, conn, tx, w, free, func(done int) txEnd {
			first := len(events) // of those that are left for later
			if done < len(free) {
				first = slices.IndexFunc(events, func(ev eventstore.Event) bool { return ev.GlobalPosition == free[done].GlobalPosition })
			}
			end := upTo(first)
			for _, ev := range events[:first] {
				if held.still.has(ev) {
					end.park = append(end.park, parking{event: ev})
				}
			}
			return end
		})
	}
	return held.still, handled, r.tx.release(ctx, conn, w, err)
}

// runParked handles parked events of one aggregate; end takes them out of the queue.
func (r *runner) runParked(ctx context.Context, events []eventstore.Event, end txEnd) error {
	conn, err := r.tx.acquire(ctx)
	if err != nil {
		return err
	}
	held := heldQueue{schema: end.save.Schema, projection: end.save.Projection, partitions: end.partitions(), of: aggregates{events[0].Stream(): {}}}
	tx, w, err := r.tx.begin(ctx, conn, &held)
	if err == nil {
		_, err = r.runIn(ctx, nil, conn, tx, w, events, func(int) txEnd { return end })
	}
	return r.tx.release(ctx, conn, w, err)
}

// runIn handles events in tx, a transaction that has begun, until left is over, and ends it with what upTo returns for
// the number of events that are done then.
func (r *runner) runIn(ctx context.Context, left *budget, conn *pgxpool.Conn, tx pgx.Tx, w *working, events []eventstore.Event, upTo func(done int) txEnd) (done int, err error) {
	switch {
	case len(events) == 0:
		return len(events), r.tx.finish(ctx, conn, w, upTo(len(events)))
	case r.handler.ApplyBatch != nil:
		return len(events), r.runBatchIn(ctx, conn, w, events, upTo(len(events)))
	}
	if done, err = r.applyEach(ctx, left, tx, w, events); err != nil {
		return done, err
	}
	return done, r.tx.finish(ctx, conn, w, upTo(done))
}

// runBatchIn is runIn for a batch form.
func (r *runner) runBatchIn(ctx context.Context, conn *pgxpool.Conn, w *working, events []eventstore.Event, end txEnd) error {
	var batch pgx.Batch
	left, err := r.queueEvents(ctx, &batch, events)
	if err != nil {
		return err
	}
	return r.send(ctx, left, conn, &batch, 0, w, end)
}

// park parks the event of an effect behind others of its aggregate, or returns errFreed if none of them is parked any
// longer.
func (r *runner) park(ctx context.Context, ev eventstore.Event, end txEnd, behind aggregates) (still aggregates, err error) {
	conn, err := r.tx.acquire(ctx)
	if err != nil {
		return nil, err
	}
	held := heldQueue{schema: end.save.Schema, projection: end.save.Projection, partitions: end.partitions(), of: behind}
	_, w, err := r.tx.begin(ctx, conn, &held)
	switch {
	case err != nil:
	case !held.still.has(ev):
		err = errFreed // which rolls back
	default:
		end.park = []parking{{event: ev}}
		err = r.tx.finish(ctx, conn, w, end)
	}
	return held.still, r.tx.release(ctx, conn, w, err)
}
