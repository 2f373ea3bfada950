package rouse

import (
	"sync"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

// turn is whose turn it is in a loop.
type turn int

const (
	turnOther turn = iota // of whoever it hands over to: it may take any time
	turnOwn               // its own: it computes, or waits for an answer that has a deadline
	turnSleep             // it waits to be woken
)

const (
	// ownLimit is how long a loop may take for what is its own turn: a few statements of 10 s each.
	ownLimit = time.Minute

	// readLimit is that for one read.
	readLimit = catchup.ReadTimeout + 10*time.Second

	// restLimit is how long a loop that looks at a ticker may not have looked at it.
	restLimit = 30 * time.Second

	// wakeLimit is how long a reader may leave unread what it was told to look at.
	wakeLimit = 5 * time.Second
)

// pulse is what a loop shows of itself, so that others can tell one that waits from one that is gone. Each change is a tick.
type pulse struct {
	mu    sync.Mutex // protects the fields below
	turn  turn
	due   time.Time // the next tick; zero: whenever something comes
	at    int64     // how far a sleeping reader has read
	ticks int64

	behind time.Time // when a sleeping reader was first seen behind, in this tick; zero: it was not
}

func (p *pulse) tick(turn turn, limit time.Duration, at int64) {
	var due time.Time
	if limit > 0 {
		due = time.Now().Add(limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn, p.due, p.at, p.behind = turn, due, at, time.Time{}
	p.ticks++
}

// working: it does something of its own.
func (p *pulse) working() { p.tick(turnOwn, ownLimit, 0) }

// reading: it reads the log.
func (p *pulse) reading() { p.tick(turnOwn, readLimit, 0) }

// resting: it waits, but a ticker will end that.
func (p *pulse) resting() { p.tick(turnSleep, restLimit, 0) }

// yielding: others have to do something first.
func (p *pulse) yielding() { p.tick(turnOther, 0, 0) }

// waiting: it has read up to a position, and waits until it is told that there is more.
func (p *pulse) waiting(at int64) { p.tick(turnSleep, 0, at) }

// late tells whether the next tick is overdue.
func (p *pulse) late() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.due.IsZero() && time.Now().After(p.due)
}

// asleep tells whether a reader sleeps although there is something up to head, and whether it has done so for too long since
// it was first asked.
func (p *pulse) asleep(head int64) (behind, tooLong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn != turnSleep || !p.due.IsZero() || p.at >= head {
		return false, false
	}
	if p.behind.IsZero() {
		p.behind = time.Now()
	}
	return true, time.Since(p.behind) >= wakeLimit
}
