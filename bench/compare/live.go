package compare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/bench"
)

const (
	// handledWithin is how long one event may take.
	handledWithin = 30 * time.Second

	// lostAfter is how long a worker may make no progress until what it has not handled counts as lost.
	lostAfter = 3 * time.Second

	// settleFor is the default of Options.settle.
	settleFor = 2 * time.Second
)

// latency times events one by one, from the acknowledged commit of each to the commit of its effect.
func latency(ctx context.Context, o Options, c *contender, _ *Round) error {
	conn, err := c.writer(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rang := make(chan time.Time, 1)
	w, err := c.live(ctx, o, func(int) {
		select {
		case <-rang:
		default:
		}
		rang <- time.Now()
	})
	if err != nil {
		return err
	}
	var took []time.Duration
	for n := range o.Timed {
		time.Sleep(o.Pause)
		select {
		case <-rang:
		default:
		}
		if err := c.side.append(ctx, conn, "timed", n+1+len(c.took)); err != nil {
			return errors.Join(err, w.stop())
		}
		committed := time.Now()
		select {
		case at := <-rang:
			took = append(took, max(at.Sub(committed), time.Microsecond))
		case <-w.ended:
			return w.fault()
		case <-time.After(handledWithin):
			return errors.Join(fmt.Errorf("%w: one was not within %s", ErrUnhandled, handledWithin), w.stop())
		}
	}
	c.took = append(c.took, took...)
	p := bench.PercentilesOf(took)
	o.Log(fmt.Sprintf("%s: commit to commit, ms: p50 %.2f, p99 %.2f", c.name, p.P50, p.P99))
	return w.stop()
}

// live starts a worker that counts, and waits until it has the history and sleeps. The history goes first.
func (c *contender) live(ctx context.Context, o Options, committed func(events int)) (*worker, error) {
	if err := c.exec(ctx, "truncate counts"); err != nil {
		return nil, err
	}
	if err := c.empty(ctx); err != nil {
		return nil, err
	}
	if err := c.side.rewind(ctx); err != nil {
		return nil, err
	}
	w, err := c.side.start(ctx, false, committed)
	if err != nil {
		return nil, err
	}
	settle := o.settle
	if settle == 0 {
		settle = settleFor
	}
	select {
	case <-time.After(settle):
		return w, nil
	case <-w.ended:
		return nil, w.fault()
	}
}

// empty removes the events. Positions go on, as they would in a log.
func (c *contender) empty(ctx context.Context) error {
	return c.exec(ctx, c.side.emptySQL())
}

// keepUp lets writers append as fast as they can while a worker handles what they append.
func keepUp(ctx context.Context, o Options, c *contender, r *Round) error {
	w, err := c.live(ctx, o, func(int) {})
	if err != nil {
		return err
	}
	if err := c.exec(ctx, "checkpoint"); err != nil {
		return errors.Join(err, w.stop())
	}
	appended, took, err := write(ctx, o, c)
	if err != nil {
		return errors.Join(err, w.stop())
	}
	r.Append = bench.PerSecond(appended, took)
	handled, drained, err := c.drain(ctx, appended)
	r.DrainMS = float64(drained.Microseconds()) / 1000
	c.out.Lost += appended - handled
	c.out.Appended += appended
	o.Log(fmt.Sprintf("%s: %.0f appends/s, %d of %d not handled, drained in %.0f ms", c.name, r.Append, appended-handled, appended, r.DrainMS))
	return errors.Join(err, w.stop())
}

// drain waits until everything is counted, or nothing more is.
func (c *contender) drain(ctx context.Context, appended int64) (handled int64, took time.Duration, err error) {
	began, moved := time.Now(), time.Now()
	for last := int64(-1); ; {
		if handled, err = c.counted(ctx); err != nil || handled >= appended {
			return handled, time.Since(began), err
		}
		if handled != last {
			last, moved = handled, time.Now()
		}
		if time.Since(moved) > lostAfter {
			return handled, moved.Sub(began), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// writer opens a connection whose commits wait for the disk, as appends should.
func (c *contender) writer(ctx context.Context) (*pgx.Conn, error) {
	cfg := c.pool.Config().ConnConfig.Copy()
	delete(cfg.RuntimeParams, "synchronous_commit")
	return pgx.ConnectConfig(ctx, cfg)
}

// write appends from all writers at once, and returns how many events and how long it took.
func write(ctx context.Context, o Options, c *contender) (int64, time.Duration, error) {
	var conns []*pgx.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for range o.Writers {
		conn, err := c.writer(ctx)
		if err != nil {
			return 0, 0, err
		}
		conns = append(conns, conn)
	}
	var appended atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, o.Writers)
	began := time.Now()
	for i, conn := range conns {
		all.Go(func() {
			for n := 1; time.Since(began) < o.Length; n++ {
				if errs[i] = c.side.append(ctx, conn, fmt.Sprint("w", began.UnixNano(), "-", i), n); errs[i] != nil {
					return
				}
				appended.Add(1)
			}
		})
	}
	all.Wait()
	return appended.Load(), time.Since(began), errors.Join(errs...)
}
