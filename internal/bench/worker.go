package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
)

// quietWithin is how long a fresh worker may take until its push is proven and it sleeps.
const quietWithin = 30 * time.Second

// running is a worker that has started.
type running struct {
	*rouse.Worker
	cancel context.CancelFunc
	ended  chan struct{} // closed at its end
	err    error         // what Run returned; valid once ended is closed
}

// start runs a worker with one projection and returns when that has claimed its partitions. The caller stops it.
func (b *Bench) start(ctx context.Context, p rouse.Projection, observer rouse.Observer) (*running, error) {
	return b.startOn(ctx, b.pool, p, observer)
}

// startOn is start with a pool of the worker's own.
func (b *Bench) startOn(ctx context.Context, pool *pgxpool.Pool, p rouse.Projection, observer rouse.Observer) (*running, error) {
	return b.startWith(ctx, pool, rouse.Config{Projections: []rouse.Projection{p}, Observer: observer})
}

// startWith is startOn for a configuration, whose label and log it sets.
func (b *Bench) startWith(ctx context.Context, pool *pgxpool.Pool, cfg rouse.Config) (*running, error) {
	cfg.Label, cfg.Log = "bench", b.cfg.Log
	w, err := rouse.New(pool, cfg)
	if err != nil {
		return nil, err
	}
	return run(ctx, w)
}

// run runs a worker and returns when it has claimed its partitions. The caller stops it.
func run(ctx context.Context, w *rouse.Worker) (*running, error) {
	runCtx, cancel := context.WithCancel(ctx)
	r := &running{Worker: w, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = w.Run(runCtx)
	}()
	select {
	case <-w.Started():
		return r, nil
	case <-r.ended:
		cancel()
		if r.err == nil {
			return nil, ctx.Err()
		}
		return nil, r.err
	}
}

// stop ends the worker and waits for it.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// asleep waits until the worker has handled everything and sleeps until it is pushed.
func (r *running) asleep(ctx context.Context) error {
	if err := r.Drain(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.Status().Mode != "quiet" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("bench: the worker is not pushed, its mode is %s (does the address lead to PostgreSQL itself, and not to a pooler?)", r.Status().Mode)
			}
			return ctx.Err()
		}
	}
	return nil
}
