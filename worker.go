package rouse

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// Worker runs projections. It runs once; its methods may be used by many goroutines.
//
// Goroutines of a running worker, all waited for by Run:
//
//	runner   one per projection: claims, handles, saves
//	feed     one per projection: reads ahead; owned by the runner's session
//	tail     one: reads the end of the log for all feeds; the last of them to leave waits for it
//	listener one, with one more for its probes (not with PollOnly)
//	control  one: heartbeats, and watches the other members
//	announce one, until every projection has started
type Worker struct {
	pool     *pgxpool.Pool
	cfg      Config
	log      zerolog.Logger
	instance string
	presence int32

	running atomic.Bool
	noPush  atomic.Bool // the push trigger was off at the last read
	started chan struct{}
	ended   chan struct{} // closed when Run returns
	runners []*runner
	tails   tails

	reading func() // called before every read of the tail, by tests that stop it; nil: nothing

	ready    chan struct{} // closed once the fields below are set
	events   catchup.Log
	listener *listener.Listener // nil with PollOnly
	control  *partition.Control
}

// New makes a Worker that reads and writes through pool, which it does not close. The pool needs 1 + Concurrency connections
// for each projection, one to read and one for each handler, and one more to try the push with; with fewer they wait for each
// other. Two connections are opened beside the pool: one that listens, unless PollOnly, and the control connection. It returns
// an error that wraps ErrConfig if cfg cannot work.
func New(pool *pgxpool.Pool, cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		pool: pool, cfg: cfg, instance: eventstore.NewID().String(), presence: randomKey(),
		started: make(chan struct{}), ended: make(chan struct{}), ready: make(chan struct{}),
	}
	w.log = cfg.Log.With().Str(keyWorker, cfg.Label).Str(keyInstance, w.instance[:8]).Logger()
	for _, p := range cfg.Projections {
		k := work{projection: p, async: !cfg.SyncCommit, scope: scopeOf(p), onFailure: cfg.onFailure(p)}
		k.batch, _ = p.(BatchProjection)
		w.runners = append(w.runners, w.newRunner(p.Name(), k))
	}
	for _, e := range cfg.Effects {
		w.runners = append(w.runners, w.newRunner(e.Name(), work{effect: e, scope: scopeOf(e), onFailure: cfg.onFailure(e)}))
	}
	return w, nil
}

// randomKey is a fresh positive key for the presence lock.
func randomKey() int32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int32(binary.BigEndian.Uint32(b[:])&0x7ffffffe) + 1
}

// Started is closed when every projection has claimed its partitions for the first time.
func (w *Worker) Started() <-chan struct{} { return w.started }

// Run works until ctx is cancelled, and then returns nil once the batch in hand is finished and the partitions are given up:
// at most StopTimeout later, or ErrStopTimeout. Before it starts it looks at the database and returns an error if that
// cannot work (see package migrations and package catchup for these). After that it lives through everything the database
// does. A projection that has to stop, with a StoppedError, leaves the others running; Run returns its error when all have
// stopped or ctx is cancelled.
func (w *Worker) Run(ctx context.Context) error {
	if w.running.Swap(true) {
		return ErrRunning
	}
	defer close(w.ended)
	if err := w.look(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	workCtx, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()

	var beside sync.WaitGroup
	besideCtx, stopBeside := context.WithCancel(workCtx)
	defer stopBeside()
	beside.Go(func() { w.announce(besideCtx) })
	if w.listener != nil {
		beside.Go(func() { w.listener.Run(besideCtx) })
	}
	beside.Go(func() { w.control.Run(besideCtx) })

	err := w.join(ctx)
	if err == nil {
		err = w.work(ctx, workCtx, cancelWork)
	}
	for _, r := range w.runners {
		r.release(ctx) // once more, for a handler that did not come back
	}
	stopBeside()
	beside.Wait()
	return err
}

// join waits until the worker is registered, so that there is a row before anything is claimed under its id, and refuses
// to share a projection with workers of the other kind.
func (w *Worker) join(ctx context.Context) error {
	select {
	case <-w.control.Ready():
	case <-ctx.Done():
		return nil
	}
	for _, r := range w.runners {
		standing, err := partition.Look(ctx, w.pool, r.name)
		if err == nil {
			err = standing.Mixed(w.instance, w.cfg.static())
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// look refuses a database that cannot work.
func (w *Worker) look(ctx context.Context) error {
	if err := migrations.Check(ctx, w.pool); err != nil {
		return err
	}
	if err := migrations.CheckRights(ctx, w.pool); err != nil {
		return err
	}
	log, err := catchup.Open(ctx, w.pool)
	if err != nil {
		return err
	}
	for _, r := range w.runners {
		if err := r.ensure(ctx); err != nil {
			return err
		}
	}
	w.events = log
	if !w.cfg.PollOnly {
		w.listener = w.newListener()
	}
	w.control = partition.NewControl(partition.ControlConfig{
		ConnConfig: w.direct(), Presence: w.presence, TTL: w.cfg.LeaseTTL, Row: w.newMember().row, Log: w.log,
	})
	close(w.ready)
	return nil
}

// direct is how to connect past a pooler.
func (w *Worker) direct() *pgx.ConnConfig {
	if w.cfg.ListenConn != nil {
		return w.cfg.ListenConn.Copy()
	}
	return w.pool.Config().ConnConfig.Copy()
}

func (w *Worker) newListener() *listener.Listener {
	return listener.New(listener.Config{
		ConnConfig: w.direct(), Pool: w.pool, Events: w.events.Events, Sequence: w.events.Sequence,
		Instance: w.instance, Presence: w.presence, Log: w.log,
		Members: func() int { return w.control.Members() },
		OnMode: func(mode listener.Mode) {
			if w.cfg.Observer.Mode != nil {
				w.cfg.Observer.Mode(string(mode))
			}
		},
	})
}

// work runs the runners until all have ended, and bounds how long they may take to after ctx was cancelled.
func (w *Worker) work(ctx, workCtx context.Context, cancelWork context.CancelFunc) error {
	results := make(chan error, len(w.runners))
	for _, r := range w.runners {
		go func() { results <- r.run(ctx, workCtx) }()
	}

	var errs []error
	var limit, grace <-chan time.Time
	stop := ctx.Done()
	for left := len(w.runners); left > 0; {
		select {
		case err := <-results:
			errs = append(errs, err)
			left--
		case <-stop:
			stop = nil
			w.control.Leave()
			if w.cfg.StopTimeout > 0 {
				limit = time.After(w.cfg.StopTimeout)
			}
		case <-limit:
			cancelWork() // the handlers' contexts; their transactions roll back
			limit, grace = nil, time.After(time.Second)
		case <-grace:
			return errors.Join(append(errs, ErrStopTimeout)...)
		}
	}
	cancelWork()
	return errors.Join(errs...)
}

// announce closes Started once every runner has claimed.
func (w *Worker) announce(ctx context.Context) {
	for _, r := range w.runners {
		select {
		case <-r.started:
		case <-ctx.Done():
			return
		}
	}
	close(w.started)
}

// Drain handles everything that was committed before the call, in the partitions that are this worker's, and returns. On a
// worker that does not run it runs it that long; on one that does, it waits, and returns ErrEnded if Run returns first.
func (w *Worker) Drain(ctx context.Context) error {
	if w.running.Load() {
		return w.reach(ctx)
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- w.Run(runCtx) }()
	reached := make(chan error, 1)
	go func() { reached <- w.reach(runCtx) }()
	select {
	case err := <-ran: // it could not start, or was stopped
		cancel()
		<-reached
		if err == nil {
			err = ctx.Err()
		}
		return err
	case err := <-reached:
		cancel()
		if ranErr := <-ran; ranErr != nil {
			return ranErr // a projection that was stopped is in both
		}
		return err
	}
}

// reach waits until all runners have handled what was in the log at the time of the call.
func (w *Worker) reach(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-w.ended:
			cancel(ErrEnded)
		case <-ctx.Done():
		}
	}()
	select {
	case <-w.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Not the head: what was rolled back above the last event wakes nobody, and an open append may stay open.
	last, err := catchup.LastVisible(ctx, w.pool, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, r := range w.runners {
		if err := r.progress.wait(ctx, last); err != nil {
			return fmt.Errorf("rouse: wait for projection %s: %w", r.name, err)
		}
	}
	return nil
}
