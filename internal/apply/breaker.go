package apply

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	// breakerRow is the number of aggregates whose events fail one after the other at which a breaker opens by itself. It
	// is small, because each of them counts a try before the outage is noticed, and large enough that failures that have
	// nothing to do with each other do not come together: where one event in fifty fails, five in a row are one in 300
	// million.
	breakerRow = 5

	// firstPause is the pause before the first trial. A service that is started again is back within it, or not soon.
	firstPause = time.Second

	// longestPause bounds the pauses, which double. It is a third of the minute within which everything is to be done after
	// a return, and three calls a minute do not keep a service from coming back.
	longestPause = 20 * time.Second

	// remindAfter is how often a breaker that stays open is logged.
	remindAfter = time.Minute

	keyTrials    = "trials"     // that have failed
	keyWaitingMS = "waiting_ms" // since the breaker opened
)

// Pauses are the pauses between the trials of an open breaker: the first, and the longest, up to which they double. Each is
// shortened by up to a quarter at random, so that the workers of a fleet do not knock together. Zero: the defaults.
type Pauses struct{ First, Longest time.Duration }

// withDefaults returns p with the defaults in place of zero.
func (p Pauses) withDefaults() Pauses {
	if p.First <= 0 {
		p.First = firstPause
	}
	if p.Longest <= 0 {
		p.Longest = longestPause
	}
	return p
}

// ruling is what becomes of an event whose try has failed.
type ruling int

const (
	counts ruling = iota // it is the event's own failure
	stays                // nothing counts; the event keeps its place and is tried again
	yields               // nothing counts; the event is set aside, due when the breaker closes
)

// Waiting describes an open breaker.
type Waiting struct {
	For    string // the last error, as Reason returns it
	Since  time.Time
	Trials int // that have failed
}

// place is where an event is: in the log, or first in the queue of its aggregate. Zero: there is none.
type place struct {
	position int64
	of       eventstore.Stream
}

// Breaker stops the tries of one projection in one process while what its handler depends on is away. It outlives
// sessions. Its methods may be called by several goroutines; trials are made by one at a time, while nothing else is
// tried.
//
//	closed     everything is tried. breakerRow aggregates fail in a row, or a handler returns Unavailable: open
//	open       nothing is tried, until the pause is over: trial
//	trial      one event is tried. It succeeds: closed. It fails: open, with twice the pause
//
// An event whose trial ends in Unavailable keeps its place, and is the next trial: the handler has said that the event is
// not the cause. One that fails otherwise is set aside, so that a breaker that opened at a run of bad events comes to
// the good ones behind them.
type Breaker struct {
	pauses  Pauses
	inPlace bool
	log     zerolog.Logger
	changed func()

	alert atomic.Bool // it is open or row is not empty; written under mu, so that a success without either costs a load

	mu      sync.Mutex          // protects the fields below
	row     []eventstore.Stream // aggregates that have failed since the last success, each once
	open    bool
	waiting Waiting
	kept    place // the event that keeps its place
	trying  bool  // a trial is under way
	pause   time.Duration
	due     time.Time // of the next trial
	said    time.Time // when it was logged last
}

// BreakerConfig configures a Breaker.
type BreakerConfig struct {
	Pauses Pauses

	// InPlace says that a failing event is never set aside (Stop). The breaker then opens only when a handler returns
	// Unavailable: events of other aggregates are not tried before the failing one is handled.
	InPlace bool

	Log     zerolog.Logger
	Changed func() // called when it has opened or closed, and after a trial that has failed. nil: nothing
}

// NewBreaker returns a breaker that is closed.
func NewBreaker(cfg BreakerConfig) *Breaker {
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	return &Breaker{pauses: cfg.Pauses.withDefaults(), inPlace: cfg.InPlace, log: cfg.Log, changed: cfg.Changed}
}

// Waiting describes the breaker; open is false if it is closed.
func (b *Breaker) Waiting() (w Waiting, open bool) {
	if !b.alert.Load() {
		return Waiting{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting, b.open
}

// Open reports whether nothing but a trial may be tried.
func (b *Breaker) Open() bool {
	_, open := b.Waiting()
	return open
}

// mayTry reports whether events may be tried: it is closed, or their try is the trial.
func (b *Breaker) mayTry() bool {
	if !b.alert.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.open || b.trying
}

// tries reports whether a trial is under way that has found out nothing yet.
func (b *Breaker) tries() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open && b.trying
}

// TrialIn returns how long it is until the next trial, 0 if it is due.
func (b *Breaker) TrialIn() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(time.Until(b.due), 0)
}

// beginTrial lets one event be tried although the breaker is open, and returns the one that has kept its place. endTrial ends
// it.
func (b *Breaker) beginTrial() (kept place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = true
	return b.kept
}

// endTrial ends a trial. One that has found out nothing, because the event is the cause or the worker had to end it, is
// due again at once.
func (b *Breaker) endTrial() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// failed takes in that the try of an event has failed with err, which is not the fault of the database. first says that no
// try at it has counted before: only such failures can open the breaker, because an event that is known to be bad says
// nothing new.
func (b *Breaker) failed(ev *eventstore.Event, err error, first bool) ruling {
	b.mu.Lock()
	r, tell := b.judge(ev, err, first)
	b.mu.Unlock()
	if tell != nil {
		tell()
	}
	return r
}

// judge is failed under the mutex. tell is what is to be called without it, nil for nothing.
func (b *Breaker) judge(ev *eventstore.Event, err error, first bool) (r ruling, tell func()) {
	unavailable := isUnavailable(err)
	switch {
	case unavailable && b.open && !b.trying:
		return stays, nil
	case unavailable:
		b.kept = place{ev.GlobalPosition, ev.Stream()}
		return stays, b.wait(ev, err)
	case isPermanent(err):
		return counts, nil
	case b.open && !b.trying: // a lane that was under way when the breaker opened
		return stays, nil
	case b.inPlace && b.open: // the handler says that the event is the cause, and it is tried until that is decided
		return counts, b.shut()
	case b.inPlace:
		return counts, nil
	case b.open:
		b.kept = place{}
		return yields, b.wait(ev, err)
	case !first:
		return counts, nil
	}
	if stream := ev.Stream(); !slices.Contains(b.row, stream) {
		b.row = append(b.row, stream)
		b.alert.Store(true)
	}
	if len(b.row) < breakerRow {
		return counts, nil
	}
	b.kept = place{}
	return yields, b.wait(ev, err)
}

// wait opens the breaker, or keeps it open after a trial that has failed. The caller holds the mutex.
func (b *Breaker) wait(ev *eventstore.Event, err error) (tell func()) {
	now := time.Now()
	log := b.log.With().Err(err).Int64(keyPosition, ev.GlobalPosition).Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).Logger()
	if b.open {
		b.waiting.Trials++
		b.pause = min(2*b.pause, b.pauses.Longest)
		b.trying = false
		w, remind := b.waiting, now.Sub(b.said) >= remindAfter
		if remind {
			b.said = now
		}
		tell = func() {
			if remind {
				log.Warn().Int(keyTrials, w.Trials).Int64(keyWaitingMS, now.Sub(w.Since).Milliseconds()).
					Msg("still waiting for what the handler depends on")
			}
			b.changed()
		}
	} else {
		b.open, b.row, b.said = true, nil, now
		b.alert.Store(true)
		b.waiting.Since = now
		b.pause = min(b.pauses.First, b.pauses.Longest)
		tell = func() {
			log.Warn().Msg("waiting for what the handler depends on: one event is tried now and then, and no try counts")
			b.changed()
		}
	}
	b.waiting.For = Reason(err)
	b.due = now.Add(b.pause - time.Duration(rand.Int64N(int64(b.pause)/4+1)))
	return tell
}

// succeeded takes in that an event was handled. A success while nothing is wrong costs one load.
func (b *Breaker) succeeded() {
	if !b.alert.Load() {
		return
	}
	b.mu.Lock()
	var tell func()
	switch {
	case !b.open:
		b.row = nil
		b.alert.Store(false)
	case b.trying:
		tell = b.shut()
	}
	b.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// giveIn closes the breaker without a success, because there is no event left that waits.
func (b *Breaker) giveIn() {
	b.mu.Lock()
	var tell func()
	if b.open {
		tell = b.shut()
	}
	b.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// shut closes the breaker. The caller holds the mutex.
func (b *Breaker) shut() (tell func()) {
	since, trials := b.waiting.Since, b.waiting.Trials
	b.open, b.row, b.kept, b.trying, b.waiting = false, nil, place{}, false, Waiting{}
	b.alert.Store(false)
	return func() {
		b.log.Info().Int(keyTrials, trials).Int64(keyWaitingMS, time.Since(since).Milliseconds()).Msg("waiting has ended, going on")
		b.changed()
	}
}

// unavailableError marks an error of a handler that the event is not the cause of.
type unavailableError struct{ error }

func (e unavailableError) Unwrap() error { return e.error }

// Unavailable marks err as not the fault of the event: something that the handler depends on is away. It returns nil for
// nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailableError{err}
}

// isUnavailable reports whether err was marked by Unavailable.
func isUnavailable(err error) bool {
	var unavailable unavailableError
	return errors.As(err, &unavailable)
}
