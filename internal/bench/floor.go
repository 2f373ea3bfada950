package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// floorRows is how many rows the floor's table has before anything is measured.
const floorRows = 10_000

// floorLoop is the worker that anybody would write first.
type floorLoop struct {
	listen, work *pgx.Conn // the same one if the loop has a single connection
	handled      *bell
	seen         func(ids []int64, committed time.Time) // told of each batch; nil: nobody is
	cancel       context.CancelFunc
	ended        chan struct{} // closed at its end
	err          error         // how it ended; valid once ended is closed
}

// floorOptions are what a floor's loop may be told. The zero value is the floor of the published ratios.
type floorOptions struct {
	seen func(ids []int64, committed time.Time) // told of each batch; nil: nobody is
	one  bool                                   // it listens, reads and writes on one connection instead of two
}

// makeFloor makes the floor's table, with rows and statistics: a planner that knows nothing of a table sorts what an index has in order.
func (b *Bench) makeFloor(ctx context.Context) error {
	if err := b.exec(ctx, statementTimeout, sqlFloorLog); err != nil {
		return err
	}
	fillCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := b.pool.Exec(fillCtx, sqlFillFloor, floorRows, historyAggregates); err != nil {
		return err
	}
	return b.exec(ctx, statementTimeout, "vacuum analyze floor_log")
}

// startFloor returns when the loop listens. It goes on from the end of the floor's log. The caller stops it.
func (b *Bench) startFloor(ctx context.Context, o floorOptions) (_ *floorLoop, err error) {
	channel, err := b.number(ctx, "select 'floor_log'::regclass::oid::bigint")
	if err != nil {
		return nil, err
	}
	f := &floorLoop{handled: newBell(), seen: o.seen, ended: make(chan struct{})}
	if f.listen, err = b.connect(ctx); err != nil {
		return nil, err
	}
	f.work = f.listen
	if !o.one {
		if f.work, err = b.connect(ctx); err != nil {
			closeConn(f.listen)
			return nil, err
		}
	}
	listenCtx, cancelListen := context.WithTimeout(ctx, statementTimeout)
	defer cancelListen()
	if _, err := f.listen.Exec(listenCtx, "listen "+pgx.Identifier{fmt.Sprint("rouse_floor_", channel)}.Sanitize()); err != nil {
		f.close()
		return nil, err
	}
	last, err := b.number(ctx, "select coalesce(max(id), 0) from floor_log")
	if err != nil {
		f.close()
		return nil, err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.ended)
		f.err = f.run(ctx, last)
	}()
	return f, nil
}

func (f *floorLoop) close() {
	closeConn(f.listen)
	if f.work != f.listen {
		closeConn(f.work)
	}
}

// stop ends the loop, and returns why it had ended before.
func (f *floorLoop) stop() error {
	f.cancel()
	<-f.ended
	f.close()
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return f.err
}

func (f *floorLoop) run(ctx context.Context, last int64) error {
	var ids []int64
	wanted := &ids
	if f.seen == nil {
		wanted = nil
	}
	for {
		if _, err := f.listen.WaitForNotification(ctx); err != nil {
			return err
		}
		for more := true; more; {
			ids = ids[:0]
			n, to, err := handStep(ctx, f.work, sqlReadFloor, last, wanted)
			if err != nil {
				return err
			}
			if f.seen != nil && n > 0 {
				f.seen(ids, time.Now())
			}
			last, more = to, n == batchSize
			if n > 0 {
				f.handled.ring()
			}
		}
	}
}
