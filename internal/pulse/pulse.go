// Package pulse distinguishes a loop that waits from one that no longer runs.
//
// A loop announces each phase before it begins; each announcement is a tick. From the last tick another goroutine
// concludes whether the loop is overdue, or sleeps although there is an event that it should read.
package pulse

import (
	"sync"
	"time"
)

// phase is the present activity of a loop.
type phase int

const (
	yielding phase = iota // another part has to act first, which may take any time
	working               // it computes, or waits for an answer that has a deadline
	sleeping              // it waits to be woken
)

const (
	// workLimit bounds the work of a loop between two ticks: a few statements of 10 s each.
	workLimit = time.Minute

	// TickerLimit bounds the time between two ticks of a loop that waits on a ticker.
	TickerLimit = 30 * time.Second

	// wakeLimit bounds how long a reader may leave events unread that it was told to read.
	wakeLimit = 5 * time.Second
)

// Pulse holds the last tick of a loop. The zero value is yielding. The loop calls the methods that set the phase; Late
// and Asleep may be called by any goroutine.
type Pulse struct {
	mu    sync.Mutex // protects the fields below
	phase phase
	due   time.Time // of the next tick; zero: at any time
	at    int64     // the position up to which a sleeping reader has read

	// behind is when Asleep first found the sleeping reader behind since the last tick; zero: it has not.
	behind time.Time
}

// tick notes a phase that lasts limit at most; limit 0: any time.
func (p *Pulse) tick(to phase, limit time.Duration, at int64) {
	var due time.Time
	if limit > 0 {
		due = time.Now().Add(limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.due, p.at, p.behind = to, due, at, time.Time{}
}

// Working announces that the loop acts by itself, for a minute at most.
func (p *Pulse) Working() { p.tick(working, workLimit, 0) }

// WorkingFor announces that the loop acts by itself, for limit at most.
func (p *Pulse) WorkingFor(limit time.Duration) { p.tick(working, limit, 0) }

// Reading announces that the loop reads the log, which takes limit at most.
func (p *Pulse) Reading(limit time.Duration) { p.WorkingFor(limit) }

// Resting announces that the loop waits, and that a ticker will end the wait within TickerLimit.
func (p *Pulse) Resting() { p.tick(sleeping, TickerLimit, 0) }

// Yielding announces that another part has to act first, which may take any time.
func (p *Pulse) Yielding() { p.tick(yielding, 0, 0) }

// Waiting announces that the reader has read up to position at and waits for a wake.
func (p *Pulse) Waiting(at int64) { p.tick(sleeping, 0, at) }

// Late reports whether the next tick is overdue.
func (p *Pulse) Late() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.due.IsZero() && time.Now().After(p.due)
}

// Asleep reports whether the reader sleeps although there are events up to position head, and whether it has done so
// for at least 5 seconds since the first call that found it behind.
func (p *Pulse) Asleep(head int64) (behind, tooLong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != sleeping || !p.due.IsZero() || p.at >= head {
		return false, false
	}
	if p.behind.IsZero() {
		p.behind = time.Now()
	}
	return true, time.Since(p.behind) >= wakeLimit
}
