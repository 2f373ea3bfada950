package rouse

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"
)

// soundFor is how long a worker of a group must have run for the pauses before its next start to begin anew.
const soundFor = time.Minute

// tenant runs the worker of one schema of a group, again and again.
type tenant struct {
	g      *Group
	schema string
	log    zerolog.Logger

	cancel  context.CancelFunc // ends run
	leaving bool               // the schema is no longer one of the group's; the mutex of the group protects it
	first   chan struct{}      // closed once the first worker has started or failed
	once    sync.Once          // closes first
	ended   chan struct{}      // closed when run has returned
	stopErr error              // of a worker that did not stop in order; for startTenant's goroutine alone

	mu     sync.Mutex // protects the fields below
	worker *Worker    // the present one; nil: none was made yet
	err    error      // why there is none that runs; nil: there is, or it is just starting
	since  time.Time  // when it was first so
	next   time.Time  // when it is tried again
}

func newTenant(g *Group, schema string) *tenant {
	return &tenant{
		g: g, schema: schema, log: g.cfg.Log.With().Str(keySchema, schema).Logger(),
		first: make(chan struct{}), ended: make(chan struct{}),
	}
}

// keySchema is the key of a log field.
const keySchema = "schema"

// run runs workers, one after the other, until ctx is cancelled.
func (t *tenant) run(ctx context.Context) {
	defer t.once.Do(func() { close(t.first) })
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMaxInterval(time.Minute),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
	pauses.Reset()
	for ctx.Err() == nil {
		began := time.Now()
		err := t.work(ctx)
		if ctx.Err() != nil {
			if errors.Is(err, ErrStopTimeout) { // that projections were stopped is known
				t.stopErr = err
			}
			return
		}
		if time.Since(began) > soundFor {
			pauses.Reset()
		}
		pause := pauses.NextBackOff()
		t.failed(err, pause)
		t.g.Refresh() // the schema may be gone
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// work makes a worker and runs it until it ends.
func (t *tenant) work(ctx context.Context) error {
	select {
	case t.g.starts <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	release := sync.OnceFunc(func() { <-t.g.starts })
	defer release()
	w, err := t.make(ctx)
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	// work takes what Run returns, so it waits for the goroutine.
	go func() { ran <- w.Run(ctx) }()
	slot := time.NewTimer(startSlot)
	defer slot.Stop()
	started := w.Started()
	for {
		select {
		case err := <-ran:
			return err
		case <-started:
			started = nil
			release()
			t.works()
		case <-slot.C:
			release()
		}
	}
}

// make makes the worker as the group's user configures it.
func (t *tenant) make(ctx context.Context) (*Worker, error) {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	cfg, err := t.g.cfg.Worker(ctx, t.schema)
	if err != nil {
		return nil, err
	}
	cfg.Schema, cfg.Log, cfg.ListenConn = t.schema, t.log, t.g.cfg.ListenConn
	if cfg.Label == "" {
		cfg.Label = t.g.cfg.Label
	}
	w, err := newWorker(t.g.pool, cfg, t.g.process)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worker = w
	return w, nil
}

// works notes that the worker has started.
func (t *tenant) works() {
	t.mu.Lock()
	again := t.err != nil
	t.err, t.since, t.next = nil, time.Time{}, time.Time{}
	t.mu.Unlock()
	t.once.Do(func() { close(t.first) })
	if again {
		t.log.Info().Msg("the worker of the schema works again")
	}
}

// failed notes why there is no worker, and logs it once for each reason.
func (t *tenant) failed(err error, pause time.Duration) {
	if err == nil {
		err = ErrEnded
	}
	t.mu.Lock()
	said := t.err != nil && t.err.Error() == err.Error()
	if t.err == nil {
		t.since = time.Now()
	}
	t.err, t.next = err, time.Now().Add(pause)
	t.mu.Unlock()
	t.once.Do(func() { close(t.first) })
	if !said {
		t.log.Error().Err(err).Msg("the worker of the schema cannot run, and is tried again and again; the others of the group go on")
	}
}

// state returns the present worker, nil if there is none yet; and if none runs, why, since when, and when it is tried again.
func (t *tenant) state() (w *Worker, since, next time.Time, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.worker, t.since, t.next, t.err
}

// reach waits until the worker has handled what was visible at the time of the call.
func (t *tenant) reach(ctx context.Context) error {
	select {
	case <-t.first:
	case <-t.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	w, _, _, err := t.state()
	switch {
	case err != nil:
		return err
	case w == nil:
		return ErrEnded
	}
	return w.reach(ctx)
}
