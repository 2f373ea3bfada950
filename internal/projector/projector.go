package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/await"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/pulse"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

const (
	// statementTimeout bounds a single statement.
	statementTimeout = 10 * time.Second

	// farewellTimeout bounds the statements by which a stopping worker gives up its partitions; if the database does
	// not answer, the other workers notice its end by themselves.
	farewellTimeout = 3 * time.Second

	// goodSession is how long a session must have lasted for the pauses between sessions to begin anew.
	goodSession = 10 * time.Second
)

// ErrReplaced means that the events table was dropped and created again while the worker ran.
var ErrReplaced = errors.New("rouse: the events table is another one than at the start (start the worker again)")

// State is the state of a projection in one worker. The package comment has the transitions.
type State string

// The states.
const (
	Starting   State = "starting"
	Standby    State = "standby"
	Paused     State = "paused"
	CatchingUp State = "catching-up"
	Live       State = "live"
	Retrying   State = "retrying"
	Waiting    State = "waiting"
	Stopped    State = "stopped"
)

// Process is the part of the configuration that the projectors of a process share.
type Process struct {
	Pool     *db.Pool
	Log      catchup.Log // as found when the worker started; a session that finds another one returns ErrReplaced
	Source   *catchup.Source
	Control  *partition.Control
	Census   *Census
	Joint    *apply.Joint // nil: there is one projection
	Instance string
	Presence int32

	// Projections is how many there are in the process.
	Projections int

	// Index and Total make the process static: it owns the partitions p with p mod Total = Index. Total 0: the process
	// is elastic.
	Index, Total int

	// Ended is closed when the worker has ended.
	Ended <-chan struct{}
}

// static reports whether Index and Total fix the process's share.
func (p Process) static() bool { return p.Total > 0 }

// Config configures a Projector. Reset, Hooks and Logger may be left out.
type Config struct {
	Process Process
	Name    string

	// Partitions is the number of partitions that the database must agree with. 0: any number.
	Partitions int

	// Start is where a projection begins that has not run yet. "": at the beginning, but where Unsaid is set, and the log has events:
	// then Unsaid is returned.
	Start  catchup.Start
	Unsaid error

	BatchSize, MostBatch int // the most events of a batch, and the most while more wait
	Concurrency          int // as in rouse.Config

	// Patience is how long failures that others may be the cause of do not count. 0: a minute.
	Patience time.Duration

	Handler apply.Handler
	Types   catchup.Types // of the events that Handler handles

	Role Role // which version of the projection Handler is of

	// Reset empties the read model through tx. nil: it cannot be emptied.
	Reset func(ctx context.Context, tx pgx.Tx) error

	// Asked is what those have asked for who wait for the projection.
	Asked *await.Asked

	// Pauses are those between the trials of the breaker. Zero: its defaults; tests shorten them.
	Pauses apply.Pauses

	Hooks  Hooks
	Logger zerolog.Logger
}

// Hooks are functions that a Projector calls when something happens to its projection, some of them on several
// goroutines at once. Each may be nil. They must not wait.
type Hooks struct {
	apply.Hooks
	State      func(State)
	Owns       func(partitions []int)                // not to be kept or changed
	VersionGap func(ev eventstore.Event, want int64) // the version of an aggregate jumped; want was due
}

// Projector runs one projection in one process, for as long as the worker runs. Run is for one goroutine; the other
// methods may be called by many. The fields without a type of their own for concurrency are for Run's goroutine alone.
type Projector struct {
	cfg Config
	log zerolog.Logger

	claimed    bool         // set by the first claim; later claims take nothing from living workers
	refused    error        // why it was not created; written before it runs
	takenUp    bool         // set by the first claim while the projection was not paused: it is not stopped any longer
	nobody     int          // partitions that no member may take, at the last look
	partitions atomic.Int64 // the number of partitions of the projection, written by Ensure

	state    atomic.Value // State, written by setState
	trouble  trouble      // behind that state
	handled  atomic.Int64 // events, written by the Appliers
	released atomic.Bool  // set by Release: the projector has ended and owns nothing
	versions *apply.Versions
	untried  apply.Untried // for the sessions, one after the other
	untold   apply.Untold
	pace     *apply.Pace
	breaker  *apply.Breaker
	progress *progress
	avoids   *avoids
	started  chan struct{} // closed by the first claim, through once
	once     sync.Once

	pulse    pulse.Pulse
	feed     atomic.Pointer[catchup.Feed] // the Feed of the last session, for Check
	inHand   atomic.Bool                  // the session is at work for a handler
	caughtUp atomic.Bool                  // the projection was live once, or had no partition to read for
	resting  atomic.Bool                  // another version of the projection is live, at the last look
	planned  atomic.Bool                  // it owns the partitions that it should, at the last look
}

// New returns a Projector for cfg. It neither connects nor starts a goroutine.
func New(cfg Config) *Projector {
	if cfg.Hooks.State == nil {
		cfg.Hooks.State = func(State) {}
	}
	if cfg.Hooks.Owns == nil {
		cfg.Hooks.Owns = func([]int) {}
	}
	p := &Projector{
		cfg: cfg, log: cfg.Logger, progress: newProgress(), started: make(chan struct{}),
		versions: apply.NewVersions(cfg.Logger, cfg.Hooks.VersionGap, cfg.Process.Projections), pace: apply.NewPace(cfg.Handler, cfg.BatchSize, cfg.MostBatch), avoids: newAvoids(cfg.Logger, cfg.Process),
	}
	p.breaker = p.newBreaker()
	p.cfg.Hooks.Retrying = func() {
		if !p.breaker.Open() {
			p.setState(Retrying)
		}
	}
	failed := cfg.Hooks.Failed
	p.cfg.Hooks.Failed = func(events int, err error) {
		if !p.breaker.Open() {
			p.trouble.note(apply.Reason(err))
		}
		if failed != nil {
			failed(events, err)
		}
	}
	p.state.Store(Starting)
	return p
}

// Name returns the projection's name.
func (p *Projector) Name() string { return p.cfg.Name }

// Started returns a channel that is closed after the first claim.
func (p *Projector) Started() <-chan struct{} { return p.started }

// State returns the present state.
func (p *Projector) State() State { return p.state.Load().(State) }

// Handled returns the number of events handled since the worker started.
func (p *Projector) Handled() int64 { return p.handled.Load() }

// Avoided returns the partitions that this process must not take for now, because a handler of theirs has not returned,
// rising.
func (p *Projector) Avoided() []int { return p.avoids.of(int(p.partitions.Load())) }

// Busy reports whether there is work in hand: for a handler, which may take long or be tried again in its place, or to catch up with.
func (p *Projector) Busy() bool {
	state := p.State()
	return p.inHand.Load() || state == CatchingUp || state == Retrying
}

// Settled reports whether the projection owns the partitions here that it should, and everybody else those that they should, as far
// as the last look has shown.
func (p *Projector) Settled() bool { return p.planned.Load() || p.State() == Stopped }

// Check returns the loops of this projection that no longer run, and the condition that it is not ready without, "" if
// it is ready. readTo is the position up to which the Source has read.
func (p *Projector) Check(readTo int64) (faults []string, wait string) {
	if p.pulse.Late() {
		faults = append(faults, fmt.Sprintf("the loop of projection %s does not run", p.cfg.Name))
	}
	if feed := p.feed.Load(); feed != nil && feed.Stuck(readTo) {
		faults = append(faults, fmt.Sprintf("projection %s is not handed events that were read", p.cfg.Name))
	}
	switch {
	case p.State() == Stopped:
		wait = fmt.Sprintf("projection %s is stopped", p.cfg.Name)
	case p.trouble.isHalted() != "":
		wait = fmt.Sprintf("projection %s handles nothing: %s", p.cfg.Name, p.trouble.isHalted())
	case !p.caughtUp.Load():
		wait = fmt.Sprintf("projection %s has not caught up yet", p.cfg.Name)
		if w, is := p.Waiting(); is {
			wait += ": it is waiting for " + w.For
		}
	case !p.planned.Load():
		wait = fmt.Sprintf("projection %s does not own the partitions that it should", p.cfg.Name)
	}
	return faults, wait
}

// Run runs sessions until ctx is cancelled, and then returns nil, or until the projection is stopped, and then returns
// the StoppedError. workCtx outlives ctx by the stop timeout, for the batch in hand.
func (p *Projector) Run(ctx, workCtx context.Context) error {
	defer func() {
		if err := p.takeBack(ctx); err != nil {
			p.log.Warn().Err(err).Msg("cannot take back tries that nobody's fault has ended, they count")
		}
		if ctx.Err() != nil { // a projection that is stopped keeps its partitions: others would stop at the same event
			p.Release(ctx)
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
		p.pulse.Working()
		began := time.Now()
		err := p.runSession(ctx, workCtx)
		if p.cfg.Role.Shadow && errors.Is(err, partition.ErrGone) {
			return nil
		}
		if stopped := p.classifyFatal(err); stopped != nil {
			p.stop(workCtx, stopped)
			return stopped
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > goodSession {
			pauses.Reset()
		}
		pause := p.explain(ctx, err, pauses)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// isRefusal reports whether a start must fail with err instead of waiting, because only a person can mend it.
func isRefusal(err error) bool {
	return errors.Is(err, partition.ErrMismatch) || errors.Is(err, partition.ErrCount) ||
		errors.Is(err, partition.ErrMixed) || errors.Is(err, ErrReplaced) || errors.Is(err, partition.ErrGone)
}

// classifyFatal returns err as the StoppedError that ends the Projector, nil if another session may succeed.
func (p *Projector) classifyFatal(err error) *apply.StoppedError {
	var stopped *apply.StoppedError
	switch {
	case errors.As(err, &stopped):
		return stopped
	case errors.Is(err, catchup.ErrLogBehind), errors.Is(err, catchup.ErrLogReplaced), errors.Is(err, catchup.ErrArchived), isRefusal(err), !p.claimed && migrations.Lacking(err):
		return &apply.StoppedError{Err: err}
	}
	return nil
}

// stop shows that the projection is stopped, and writes it to the database for every worker and operator to see.
func (p *Projector) stop(ctx context.Context, stopped *apply.StoppedError) {
	p.pulse.Yielding() // for good
	p.setState(Stopped)
	p.progress.fail(stopped)
	var position *int64
	line := p.log.Error().Err(stopped.Err)
	if ev := stopped.Event; ev.GlobalPosition != 0 {
		position = &ev.GlobalPosition
		line = line.Int64(keyPosition, ev.GlobalPosition).Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID)
	}
	line.Msg("the projection is stopped")
	err := stopped.Err
	if position == nil && (errors.Is(err, partition.ErrMixed) || errors.Is(err, partition.ErrMismatch) || errors.Is(err, partition.ErrGone) || migrations.Lacking(err)) {
		return // it is this worker that must not run, not the projection
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := db.Exec(ctx, p.cfg.Process.Pool, sqlStopped.For(p.cfg.Process.Pool), p.cfg.Name, position, apply.Reason(err)); err != nil {
		p.log.Warn().Err(err).Msg("cannot write down that the projection is stopped")
	}
	p.tellToLook(ctx)
}

// takeBack takes tries back that have ended without a verdict, in the short time that a worker that stops has.
func (p *Projector) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	return p.untold.TakeBack(ctx, p.cfg.Process.Pool, p.cfg.Name)
}

// Release gives up all partitions that this process owns, so that other workers need not wait. Later calls do nothing
// once one has succeeded.
func (p *Projector) Release(ctx context.Context) {
	if p.released.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	if err := partition.Release(ctx, p.cfg.Process.Pool, p.cfg.Name, p.cfg.Process.Instance, nil); err != nil {
		p.log.Warn().Err(err).Msg("cannot give up the partitions, others will notice by themselves")
		return
	}
	p.released.Store(true)
	p.cfg.Hooks.Owns(nil)
}

// setState changes the state and reports whether it was another one.
func (p *Projector) setState(state State) bool {
	p.trouble.enter(state)
	if p.State() == state || p.state.Swap(state) == state { // mostly it is, and a Swap makes a copy
		return false
	}
	if state == Live {
		p.caughtUp.Store(true)
	}
	p.log.Info().Str(keyState, string(state)).Msg("state changed")
	p.cfg.Hooks.State(state)
	if control := p.cfg.Process.Control; control != nil && (state == Stopped || !control.IsAwake()) {
		control.Beat() // the next heartbeat may be a long way off
	}
	return true
}

// Keys of log fields.
const (
	keyPosition      = "position"
	keyAggregateType = "aggregate_type"
	keyAggregateID   = "aggregate_id"
	keyPartitions    = "partitions"
	keyState         = "state"
	keyTries         = "tries"
)
