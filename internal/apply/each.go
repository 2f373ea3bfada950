package apply

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// callsAtOnce is how many calls are allocated together. One that a handler has kept something of keeps all of them, some 10 kB.
const callsAtOnce = 64

// each calls Handler.Apply with one event after the other, in one transaction, on one goroutine.
type each struct {
	guard
	handler *Handler
	left    *budget
	tx      pgx.Tx
	w       *working
	events  []eventstore.Event

	// Written by the goroutine before a call begins, and not after it was given up.
	done int    // how many of events are handled
	last *call  // that was made
	free []call // that are to be made
}

// applyEach calls the handler with one event after the other until left is over, and returns how many that were: at least
// one.
func (r *runner) applyEach(ctx context.Context, left *budget, tx pgx.Tx, w *working, events []eventstore.Event) (done int, err error) {
	e := each{guard: guard{batch: ctx, limit: r.tx.limit}, handler: &r.handler, left: left, tx: tx, w: w, events: events}
	err = e.run(e.handle)
	if hung := Hung(err); hung != nil {
		hung.Events = []eventstore.Event{events[e.done]}
		return e.done, e.last.late(err)
	}
	if errors.Is(err, errExited) {
		err = e.last.late(err)
	}
	if err != nil {
		err = ofCall(tx.Conn(), err, e.last.uses.savepoints.Load())
		if !tx.Conn().IsClosed() && Hung(err) == nil {
			err = Deferring(err, &events[e.done])
		}
	}
	return e.done, err
}

// handle is applyEach on the goroutine of the guard.
func (e *each) handle() error {
	for ; e.done < len(e.events); e.done++ {
		if e.done > 0 && e.left.over() {
			return nil
		}
		c := e.next()
		err := e.do(c, func(ctx context.Context) error { return e.handler.Apply(ctx, &c.tx, e.events[e.done]) })
		if err != nil {
			return err
		}
		e.w.listens, e.w.lent = e.w.listens || c.uses.listens.Load(), e.w.lent || c.uses.objects.Load()
		if err := leftBehind(e.tx.Conn()); err != nil {
			return err
		}
	}
	return nil
}

// next returns the call of the next event, which has not begun.
func (e *each) next() *call {
	if len(e.free) == 0 {
		e.free = make([]call, min(len(e.events)-e.done, callsAtOnce))
	}
	c := &e.free[0]
	e.last, e.free = c, e.free[1:]
	c.tx = HandlerTx{tx: e.tx, uses: &c.uses}
	return c
}
