package rouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/partition"
)

// farewellTimeout bounds what a stopping worker still tells the database; if it is away, others find out by themselves.
const farewellTimeout = 3 * time.Second

// State is what a projection is doing in one worker.
type State string

// The states of a projection.
const (
	// StateStarting: it has not claimed its partitions yet.
	StateStarting State = "starting"
	// StateStandby: it owns no partition, because another process owns those it wants or there are none for it.
	StateStandby State = "standby"
	// StatePaused: somebody has paused it.
	StatePaused State = "paused"
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

	claimed bool // it has claimed once; from then on it takes nothing from the living
	nobody  int  // partitions that no member may take, as last seen

	partitions int // as last seen; written by the runner's goroutine, under mu, which others need for reading

	mu     sync.Mutex    // protects avoids, and partitions
	avoids map[int16]int // handlers that have not come back, by slot

	current  atomic.Value // State
	handled  atomic.Int64 // events
	released atomic.Bool  // it has ended and owns nothing
	progress progress
	started  chan struct{} // closed after the first claim
	once     sync.Once

	pulse    pulse
	feed     atomic.Pointer[feed] // the last one
	caughtUp atomic.Bool          // it has read everything once, or had nothing to read
	planned  atomic.Bool          // it owns what it should, as last seen
}

func (w *Worker) newRunner(name string, k work) *runner {
	k.pool = w.pool
	k.timeout = max(w.cfg.HandlerTimeout, 0)
	k.presence = w.presence
	log := w.log.With().Str(keyProjection, name).Logger()
	r := &runner{w: w, name: name, work: &k, log: log, gaps: newGaps(log, w.cfg.Observer, name),
		started: make(chan struct{}), avoids: map[int16]int{}}
	r.current.Store(StateStarting)
	r.progress.init()
	return r
}

// run returns nil after ctx was cancelled, or why the projection is stopped. workCtx outlives ctx by the stop timeout, for
// the batch in hand.
func (r *runner) run(ctx, workCtx context.Context) error {
	defer func() {
		if ctx.Err() != nil { // a projection that is stopped keeps its partitions: others would stop at the same event
			r.release(ctx)
		}
	}()
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
	pauses.Reset()
	for ctx.Err() == nil {
		r.pulse.working()
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
		pause := r.explain(ctx, err, pauses)
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
	case errors.Is(err, catchup.ErrLogBehind), refused(err), !r.claimed && migrations.Lacking(err):
		stopped = &StoppedError{Projection: r.name, Err: err}
	default:
		return nil, false
	}
	r.pulse.yielding() // for good
	r.setState(StateStopped)
	r.progress.fail(stopped)
	line := r.log.Error().Err(stopped.Err)
	if stopped.Position != 0 {
		line = line.Int64(keyPosition, stopped.Position).
			Str(keyAggregateType, stopped.AggregateType).Str(keyAggregateID, stopped.AggregateID)
	}
	line.Msg("the projection is stopped")
	if errors.Is(err, partition.ErrMixed) || errors.Is(err, partition.ErrMismatch) || stopped.Position == 0 && migrations.Lacking(err) {
		return stopped, true // it is this worker that must not run, not the projection
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var position *int64
	if stopped.Position != 0 {
		position = &stopped.Position
	}
	if _, err := r.w.pool.Exec(ctx, sqlStopped, r.name, position, reason(stopped.Err)); err != nil {
		r.log.Warn().Err(err).Msg("cannot write down that the projection is stopped")
	}
	return stopped, true
}

// explain logs why a session ended and says how long to wait before the next.
func (r *runner) explain(ctx context.Context, err error, pauses *backoff.ExponentialBackOff) time.Duration {
	if isReadOnly(err) {
		// A session that began while the database was read-only stays so for as long as it lives.
		r.w.pool.Reset()
	}
	switch {
	case err == nil: // partitions are to be shared anew
		return 0
	case errors.Is(err, catchup.ErrFenced):
		r.log.Warn().Msg("a partition has changed hands, the batch is rolled back")
	case errors.Is(err, partition.ErrResized):
		r.log.Info().Msg("the number of partitions has changed, starting over from the checkpoints")
	case isHung(err):
		r.setState(StateRetrying)
		return 0
	case errors.Is(err, ErrLeaseLost):
		r.setState(StateRetrying)
		r.log.Warn().Msg("the heartbeats do not get through, the partitions are given up until they do")
		return 0
	case errors.Is(err, catchup.ErrIncarnation):
		r.log.Warn().Msg("the database has restarted after a crash or failed over, starting over from the checkpoints")
		return 0
	case errors.Is(err, catchup.ErrUnguarded):
		r.setState(StateRetrying)
		r.log.Error().Err(err).Msg("standing still until the append trigger is back")
	case migrations.Lacking(err), errors.Is(err, catchup.ErrSequence):
		r.setState(StateRetrying)
		if missing := migrations.CheckRights(ctx, r.w.pool); missing != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", missing, err)
		}
		r.log.Error().Err(err).Msg("a right or a part of the schema is missing, trying again until somebody grants it or puts it back")
	default:
		r.setState(StateRetrying)
		r.log.Warn().Err(err).Msg("the database does not answer, trying again")
	}
	return pauses.NextBackOff()
}

// session claims partitions and handles their events until ctx is cancelled (nil), they are to be shared anew (nil), or
// something fails.
func (r *runner) session(ctx, workCtx context.Context) error {
	workCtx, end, err := r.trusted(ctx, workCtx)
	if err != nil {
		return nil // ctx is cancelled
	}
	defer end()
	s, err := r.open(ctx)
	switch {
	case err != nil:
	case s.owned == 0:
		err = s.standby(ctx)
	default:
		err = s.run(ctx, workCtx)
	}
	var hung *hungError
	if errors.As(err, &hung) {
		s.abandon(ctx, hung)
	}
	if errors.Is(context.Cause(workCtx), ErrLeaseLost) {
		r.w.cfg.Observer.owns(r.name, nil)
		return ErrLeaseLost // whatever else went wrong followed from it
	}
	return err
}

// trusted waits until this process may rely on leases, and returns a context for its handlers that ends with ErrLeaseLost
// when it no longer may. Static workers may always: nobody else takes what is theirs while they are frozen or cut off, but a
// twin, and against that there is the fence.
func (r *runner) trusted(ctx, workCtx context.Context) (_ context.Context, end func(), err error) {
	if r.w.cfg.static() {
		return workCtx, func() {}, nil
	}
	trust, err := r.w.control.Trust(ctx)
	if err != nil {
		return nil, nil, err
	}
	workCtx, cancel := context.WithCancelCause(workCtx)
	unhook := context.AfterFunc(trust, func() { cancel(ErrLeaseLost) })
	return workCtx, func() { unhook(); cancel(nil) }, nil
}

// open finds out where the projection stands: the log, the incarnation, how its partitions are shared, and claims.
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
	if err := r.ensure(ctx); err != nil {
		return nil, err
	}
	s := &session{runner: r, events: log, token: token, changed: r.w.control.Changed()}
	standing, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if standing.Reset {
		if err := r.reset(ctx); err != nil {
			return nil, err
		}
	}
	if extra := without(standing.Owned(r.w.instance), s.wanted); len(extra) > 0 {
		if err := partition.Release(ctx, r.w.pool, r.name, r.w.instance, extra); err != nil {
			return nil, err
		}
	}
	if _, dead := standing.Free(s.wanted, r.w.instance); dead {
		r.terminate(ctx)
	}
	claim := partition.Claim{
		Projection: r.name, Instance: r.w.instance, Token: string(token),
		Partitions: s.wanted, Of: r.partitions, FromTheLiving: r.w.cfg.static() && !r.claimed,
	}
	leases, err := claim.Claim(ctx, r.w.pool)
	if err != nil {
		return nil, err
	}
	if err := r.opened(ctx); err != nil {
		return nil, err
	}
	s.hold(s.kept(leases))
	if s.owned > 0 {
		if err := s.recall(ctx); err != nil {
			return nil, err
		}
	}
	if s.owned > 0 || len(s.wanted) == 0 { // or paused
		r.once.Do(func() { close(r.started) })
	}
	return s, nil
}

// ensure finds out how many partitions there are, and makes them if there are none.
func (r *runner) ensure(ctx context.Context) error {
	partitions, err := partition.Ensure(ctx, r.w.pool, r.name, r.w.cfg.Partitions)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.partitions = partitions
	r.mu.Unlock()
	return nil
}

// opened takes note of the first claim.
func (r *runner) opened(ctx context.Context) error {
	r.gaps.forget()
	if r.claimed {
		return nil
	}
	r.claimed = true
	_, err := r.w.pool.Exec(ctx, sqlStarted, r.name)
	return err
}

// recall reads what earlier owners have left behind of the partitions: attempts, and parked events.
func (s *session) recall(ctx context.Context) (err error) {
	if err := s.readAttempts(ctx); err != nil {
		return err
	}
	s.aside.set, err = parked.Read(ctx, s.w.pool, s.name, s.partitions, s.mine())
	return err
}

// terminate ends what the sessions of dead workers still do. Where the role may not, their transactions time out.
func (r *runner) terminate(ctx context.Context) {
	ended, err := partition.Terminate(ctx, r.w.pool, r.name)
	switch {
	case err != nil:
		r.log.Debug().Err(err).Msg("cannot end the sessions of a dead worker, they will time out")
	case ended > 0:
		r.log.Warn().Int("sessions", ended).Msg("a worker is dead, its sessions are ended")
	}
}

// release gives up what is owned, so that others need not wait. It may be called again.
func (r *runner) release(ctx context.Context) {
	if r.released.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	if err := partition.Release(ctx, r.w.pool, r.name, r.w.instance, nil); err != nil {
		r.log.Warn().Err(err).Msg("cannot give up the partitions, others will notice by themselves")
		return
	}
	r.released.Store(true)
	r.w.cfg.Observer.owns(r.name, nil)
}

// setState changes the state and tells whether it was another one.
func (r *runner) setState(state State) bool {
	if r.current.Swap(state) == state {
		return false
	}
	if state == StateLive {
		r.caughtUp.Store(true)
	}
	r.log.Info().Str(keyState, string(state)).Msg("state changed")
	r.w.cfg.Observer.state(r.name, state)
	return true
}

func (r *runner) state() State { return r.current.Load().(State) }
