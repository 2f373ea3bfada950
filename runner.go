package rouse

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/partition"
)

// State is what a projection is doing in one worker.
type State string

// The states of a projection.
const (
	// StateStarting: it has not claimed its partitions yet.
	StateStarting State = "starting"
	// StateStandby: it owns no partition, because another process owns those it wants or there are none for it.
	StateStandby State = "standby"
	// StateCatchingUp: it is reading what was committed before it came.
	StateCatchingUp State = "catching-up"
	// StateLive: it has read everything and waits for wakes.
	StateLive State = "live"
	// StateRetrying: an event or the database fails and is tried again.
	StateRetrying State = "retrying"
	// StateStopped: an event failed too often. It stands still until the worker is started again.
	StateStopped State = "stopped"
)

// runner runs one projection in one worker, for as long as the worker runs: session after session, each from what the
// database says. Whatever goes wrong ends the session, never the runner, except an event that cannot be handled.
type runner struct {
	w    *Worker
	name string
	work *work
	log  zerolog.Logger
	gaps *gaps

	partitions int
	claimed    bool // it has claimed once; from then on it takes nothing from the living

	current  atomic.Value // State
	handled  atomic.Int64 // events
	progress progress
	started  chan struct{} // closed after the first claim
	once     sync.Once
}

func (w *Worker) newRunner(name string, k work) *runner {
	k.pool = w.pool
	k.timeout = max(w.cfg.HandlerTimeout, 0)
	log := w.log.With().Str(keyProjection, name).Logger()
	r := &runner{w: w, name: name, work: &k, log: log, gaps: newGaps(log, w.cfg.Observer, name), started: make(chan struct{})}
	r.current.Store(StateStarting)
	r.progress.init()
	return r
}

// run returns nil after ctx was cancelled, or why the projection is stopped. workCtx outlives ctx by the stop timeout, for
// the batch in hand.
func (r *runner) run(ctx, workCtx context.Context) error {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
	pauses.Reset()
	for ctx.Err() == nil {
		began := time.Now()
		err := r.session(ctx, workCtx)
		if stopped, is := r.stop(workCtx, err); is {
			return stopped
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			pauses.Reset() // the session had done well
		}
		pause := r.explain(err, pauses)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// stop tells whether err stops the projection for good, and if so writes it down for everybody to see.
func (r *runner) stop(ctx context.Context, err error) (error, bool) {
	var stopped *StoppedError
	switch {
	case errors.As(err, &stopped):
	case errors.Is(err, catchup.ErrLogBehind), refused(err):
		stopped = &StoppedError{Projection: r.name, Err: err}
	default:
		return nil, false
	}
	r.setState(StateStopped)
	r.progress.fail(stopped)
	r.log.Error().Err(stopped.Err).Int64(keyPosition, stopped.Position).
		Str(keyAggregateType, stopped.AggregateType).Str(keyAggregateID, stopped.AggregateID).Msg("the projection is stopped")
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var position *int64
	if stopped.Position != 0 {
		position = &stopped.Position
	}
	// A handler may quote what is no text for the database.
	reason := strings.ToValidUTF8(strings.ReplaceAll(stopped.Err.Error(), "\x00", ""), "\ufffd")
	if _, err := r.w.pool.Exec(ctx, sqlStopped, r.name, position, reason); err != nil {
		r.log.Warn().Err(err).Msg("cannot write down that the projection is stopped")
	}
	return stopped, true
}

// explain logs why a session ended and says how long to wait before the next.
func (r *runner) explain(err error, pauses *backoff.ExponentialBackOff) time.Duration {
	switch {
	case err == nil: // partitions are to be claimed
		return 0
	case errors.Is(err, catchup.ErrFenced):
		r.log.Warn().Msg("a partition has changed hands, the batch is rolled back")
	case errors.Is(err, catchup.ErrIncarnation):
		r.log.Warn().Msg("the database has restarted after a crash or failed over, starting over from the checkpoints")
		return 0
	case errors.Is(err, catchup.ErrUnguarded):
		r.setState(StateRetrying)
		r.log.Error().Err(err).Msg("standing still until the append trigger is back")
	default:
		r.setState(StateRetrying)
		r.log.Warn().Err(err).Msg("the database does not answer, trying again")
	}
	return pauses.NextBackOff()
}

// session claims partitions and handles their events until ctx is cancelled (nil), there are more to claim (nil), or
// something fails.
func (r *runner) session(ctx, workCtx context.Context) error {
	s, err := r.open(ctx)
	if err != nil {
		return err
	}
	if len(s.fences) == 0 {
		return r.standby(ctx, s.claim)
	}
	return s.run(ctx, workCtx)
}

// open finds out where the projection stands: the log, the incarnation, and the partitions that may be claimed.
func (r *runner) open(ctx context.Context) (*session, error) {
	log, err := catchup.Open(ctx, r.w.pool)
	if err != nil {
		return nil, err
	}
	if log.Events != r.w.events.Events || log.Sequence != r.w.events.Sequence {
		return nil, ErrReplaced
	}
	token, err := catchup.CurrentToken(ctx, r.w.pool)
	if err != nil {
		return nil, err
	}
	if r.partitions, err = partition.Ensure(ctx, r.w.pool, r.name, r.w.cfg.Partitions); err != nil {
		return nil, err
	}
	claim := partition.Claim{
		Projection: r.name, Instance: r.w.instance, Token: string(token),
		Partitions: r.w.cfg.share(r.partitions), FromTheLiving: !r.claimed,
	}
	leases, err := claim.Claim(ctx, r.w.pool)
	if err != nil {
		return nil, err
	}
	if !r.claimed {
		r.claimed = true
		if _, err := r.w.pool.Exec(ctx, sqlStarted, r.name); err != nil {
			return nil, err
		}
	}
	r.gaps.forget()
	s := newSession(r, log, token, claim, leases)
	r.once.Do(func() { close(r.started) })
	return s, nil
}

// standby waits until there is something to claim. A worker with no share at all has nothing to do for ever.
func (r *runner) standby(ctx context.Context, claim partition.Claim) error {
	if len(claim.Partitions) == 0 {
		if r.setState(StateStandby) {
			r.log.Warn().Int(keyPartitions, r.partitions).Msg("there are more workers than partitions, this one has nothing to do")
		}
		r.progress.advance(math.MaxInt64)
		<-ctx.Done()
		return nil
	}
	if r.setState(StateStandby) {
		r.log.Warn().Msg("another process owns the partitions of this worker, standing by until it is gone (is the same WORKER_ID used twice?)")
	}
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if free, err := claim.Claimable(ctx, r.w.pool); err != nil || free {
			return err
		}
	}
}

// setState changes the state and tells whether it was another one.
func (r *runner) setState(state State) bool {
	if r.current.Swap(state) == state {
		return false
	}
	r.log.Info().Str(keyState, string(state)).Msg("state changed")
	r.w.cfg.Observer.state(r.name, state)
	return true
}

func (r *runner) state() State { return r.current.Load().(State) }

// progress is how far a projection has come in this worker, and lets others wait for it.
type progress struct {
	mu      sync.Mutex // protects the fields below
	to      int64
	err     error         // why it comes no further
	changed chan struct{} // closed and replaced at every change
}

func (p *progress) init() { p.changed = make(chan struct{}) }

func (p *progress) advance(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == p.to {
		return
	}
	p.to = to
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail tells whoever waits that the projection is stopped.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait returns when everything up to a position has been handled, the projection is stopped, or ctx is cancelled.
func (p *progress) wait(ctx context.Context, to int64) error {
	for {
		p.mu.Lock()
		there, err, changed := p.to >= to, p.err, p.changed
		p.mu.Unlock()
		switch {
		case there:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
