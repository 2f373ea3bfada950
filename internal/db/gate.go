package db

import (
	"context"
	"sync"
	"time"
)

// lent is how long a place in a gate belongs to who has entered: longer than the worker's own statements take, and mostly than what
// handlers have queued, also on a connection that has to be opened.
const lent = 250 * time.Millisecond

// waits is how long one waits for a place, and goes in without one then: where statements are so slow, the pool bounds them.
const waits = time.Second

// Gate bounds how many connections the projections of a process use at once for what is short, so that hundreds of them do not open
// hundreds. Nobody is kept out for long by one that is not short after all, because a lock or a slow statement holds it up: it stays
// inside, and its place is given to another; nor by many of them, for nobody waits longer than a second. A nil Gate lets everybody through. Its methods may be called by many goroutines.
type Gate struct {
	lent   time.Duration
	waits  time.Duration
	free   chan struct{} // has one for each free place
	passes sync.Pool     // of *Pass, whose timers are stopped
}

// NewGate returns a gate with places for n.
func NewGate(n int) *Gate {
	g := &Gate{lent: lent, waits: waits, free: make(chan struct{}, n)}
	for range n {
		g.free <- struct{}{}
	}
	return g
}

// Pass is a place in a gate. A nil Pass is none.
type Pass struct {
	gate *Gate
	lent *time.Timer // gives the place back
}

// Enter waits for a place, which Leave gives back. After a second it is let through without one.
func (g *Gate) Enter(ctx context.Context) (*Pass, error) {
	if g == nil {
		return nil, nil //nolint:nilnil // nil is a Pass
	}
	select {
	case <-g.free:
	default:
		timer := time.NewTimer(g.waits)
		defer timer.Stop()
		select {
		case <-g.free:
		case <-timer.C:
			return nil, nil //nolint:nilnil // nil is a Pass
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p, is := g.passes.Get().(*Pass)
	if !is {
		p = &Pass{gate: g, lent: time.AfterFunc(g.lent, func() { g.free <- struct{}{} })}
		return p, nil
	}
	p.lent.Reset(g.lent)
	return p, nil
}

// Leave gives the place back, if it was not given to another.
func (p *Pass) Leave() {
	if p == nil || !p.lent.Stop() {
		return
	}
	p.gate.free <- struct{}{}
	p.gate.passes.Put(p)
}

// Enter enters the gate of d, if it is a *Pool that has one.
func Enter(ctx context.Context, d any) (*Pass, error) {
	if p, is := d.(*Pool); is {
		return p.Gate.Enter(ctx)
	}
	return nil, nil //nolint:nilnil // nil is a Pass
}
