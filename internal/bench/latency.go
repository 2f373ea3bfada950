package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
)

// LatencyOptions say how much to measure.
type LatencyOptions struct {
	Events int     // how many events of each side are timed, at least 1
	Rate   float64 // events per second of each side, at most; more than 0
}

// LatencyResult is the time from an append's acknowledged commit to the acknowledged commit of its effect.
type LatencyResult struct {
	Bench  string  `json:"bench"` // latency
	Server Server  `json:"server"`
	Events int     `json:"events"`
	Rate   float64 `json:"rate"`

	// Handled and FloorHandled are how many events the read model has of each side: all.
	Handled      int64 `json:"handled"`
	FloorHandled int64 `json:"floor_handled"`

	Rouse Percentiles `json:"rouse"`
	Floor Percentiles `json:"floor"`

	// Ratio has the percentiles of Rouse divided by those of the floor.
	Ratio struct {
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
		P99 float64 `json:"p99"`
	} `json:"ratio"`
}

// The aggregates of both sides, which share the read model's table.
const (
	oursID  = "rouse"
	floorID = "floor"
)

// Latency times events one by one, in a log that is calm enough for workers to sleep. The floor is a loop written by hand
// that is notified, selects, and commits effect and checkpoint in one round trip, without any of the promises. The two take
// turns, event by event.
func (b *Bench) Latency(ctx context.Context, o LatencyOptions) (r LatencyResult, err error) {
	r = LatencyResult{Bench: "latency", Server: b.server, Events: o.Events, Rate: o.Rate}
	if err := b.exec(ctx, statementTimeout, sqlFloorLog); err != nil {
		return r, err
	}
	ours := newBell()
	worker, err := b.start(ctx, counts{"bench_latency"}, rouse.Observer{Handled: func(string, int, time.Duration) { ours.ring() }})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, worker.stop()) }()
	if err := worker.asleep(ctx); err != nil {
		return r, err
	}
	floor, err := b.startFloor(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, floor.stop()) }()
	writer, err := b.connect(ctx)
	if err != nil {
		return r, err
	}
	defer closeConn(writer)

	turns := []turn{
		{bell: floor.handled, ended: floor.ended, write: func(ctx context.Context, _ int) error {
			_, err := writer.Exec(ctx, sqlAppendFloor, floorID)
			return err
		}},
		{bell: ours, ended: worker.ended, write: func(ctx context.Context, n int) error {
			_, err := writer.Exec(ctx, sqlAppendEvent, oursID, n)
			return err
		}},
	}
	if err := b.takeTurns(ctx, o, turns); err != nil {
		return r, err
	}
	r.Floor, r.Rouse = percentilesOf(turns[0].took), percentilesOf(turns[1].took)
	r.Ratio.P50, r.Ratio.P90, r.Ratio.P99 = r.Rouse.P50/r.Floor.P50, r.Rouse.P90/r.Floor.P90, r.Rouse.P99/r.Floor.P99
	return r, b.countLatency(ctx, &r)
}

// turn is one side.
type turn struct {
	bell  *bell
	ended <-chan struct{}
	write func(ctx context.Context, n int) error
	took  []time.Duration
}

// takeTurns lets each side have one event at a time, at the rate.
func (b *Bench) takeTurns(ctx context.Context, o LatencyOptions, turns []turn) error {
	pause := time.Duration(float64(time.Second) / o.Rate / float64(len(turns)))
	b.cfg.Progress(0, int64(o.Events))
	for n := range o.Events {
		for i := range turns {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			took, err := turns[i].timed(ctx, n+1)
			if err != nil {
				return err
			}
			turns[i].took = append(turns[i].took, took)
		}
		b.cfg.Progress(int64(n+1), int64(o.Events))
	}
	return nil
}

func (t turn) timed(ctx context.Context, n int) (time.Duration, error) {
	t.bell.clear()
	writeCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := t.write(writeCtx, n); err != nil {
		return 0, err
	}
	committed := time.Now()
	if err := t.bell.wait(ctx, t.ended); err != nil {
		return 0, err
	}
	// An effect can be committed before the writer has heard of its own commit. That counts as the least there is.
	return max(t.bell.at().Sub(committed), time.Microsecond), nil
}

// countLatency finds in the read model what both sides have handled.
func (b *Bench) countLatency(ctx context.Context, r *LatencyResult) (err error) {
	for id, count := range map[string]*int64{oursID: &r.Handled, floorID: &r.FloorHandled} {
		if *count, err = b.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts where aggregate_id = $1", id); err != nil {
			return err
		}
		if *count != int64(r.Events) {
			return fmt.Errorf("%w: of %d events, %d are in the read model of the side %q", ErrUnhandled, r.Events, *count, id)
		}
	}
	return nil
}

// floorLoop is the worker that anybody would write first.
type floorLoop struct {
	listen, work *pgx.Conn
	handled      *bell
	cancel       context.CancelFunc
	ended        chan struct{} // closed at its end
	err          error         // how it ended; valid once ended is closed
}

// startFloor returns when the loop listens. The caller stops it.
func (b *Bench) startFloor(ctx context.Context) (*floorLoop, error) {
	channel, err := b.number(ctx, "select 'floor_log'::regclass::oid::bigint")
	if err != nil {
		return nil, err
	}
	listen, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	work, err := b.connect(ctx)
	if err != nil {
		closeConn(listen)
		return nil, err
	}
	listenCtx, cancelListen := context.WithTimeout(ctx, statementTimeout)
	defer cancelListen()
	if _, err := listen.Exec(listenCtx, "listen "+pgx.Identifier{fmt.Sprint("rouse_floor_", channel)}.Sanitize()); err != nil {
		closeConn(listen)
		closeConn(work)
		return nil, err
	}
	f := &floorLoop{listen: listen, work: work, handled: newBell(), ended: make(chan struct{})}
	ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.ended)
		f.err = f.run(ctx)
	}()
	return f, nil
}

// stop ends the loop, and returns why it had ended before.
func (f *floorLoop) stop() error {
	f.cancel()
	<-f.ended
	closeConn(f.listen)
	closeConn(f.work)
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return f.err
}

func (f *floorLoop) run(ctx context.Context) error {
	last := int64(0)
	for {
		if _, err := f.listen.WaitForNotification(ctx); err != nil {
			return err
		}
		for more := true; more; {
			n, to, err := handStep(ctx, f.work, sqlReadFloor, last)
			if err != nil {
				return err
			}
			last, more = to, n == batchSize
			if n > 0 {
				f.handled.ring()
			}
		}
	}
}
