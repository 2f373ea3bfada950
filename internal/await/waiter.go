package await

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	// ErrParked means that an event that is waited for was set aside and waits for people.
	ErrParked = errors.New("rouse: an event that is waited for is parked, so the read model is without it" +
		" (rouse parked list has its error; mend the cause, then rouse parked retry, or rouse parked discard)")

	// ErrPaused means that the projection is paused before it has handled what is waited for.
	ErrPaused = errors.New("rouse: the projection is paused (rouse projection resume lets it go on)")

	// ErrStopped means that the projection is stopped before it has handled what is waited for, and that no worker goes on with it.
	ErrStopped = errors.New("rouse: the projection is stopped and no worker goes on with it" +
		" (rouse status says by which event; mend the cause, then start its worker again)")

	// ErrNoProjection means that there is no projection of that name: it was never run, or was dropped.
	ErrNoProjection = errors.New("rouse: there is no projection of this name (rouse projection list has those that there are)")
)

// AllSlots is the Slot of a Target that is all of a projection.
const AllSlots = -1

// Head is the Last of a Target that is reached with the last event that there is at the first look.
const Head = -1

// Target is what is waited for.
type Target struct {
	Projection string

	// Slot is that of the events, or AllSlots.
	Slot int

	// Positions are those of the events that must not be set aside, rising; the last one is Last. nil: it does not matter.
	Positions []int64

	// Last is the position up to which everything is to be handled, or Head.
	Last int64
}

// first is the first position of an event that must not be set aside, -1 if that does not matter.
func (t Target) first() int64 {
	if len(t.Positions) == 0 {
		return -1
	}
	return t.Positions[0]
}

// waiter is one call that waits. The mutex of its Hub protects it.
type waiter struct {
	target Target
	key    string
	done   chan error // receives the outcome, once; buffered to 1

	looked  bool       // a look has been made while nothing could escape: the fields below are known
	last    int64      // the Last of target, or what Head stands for
	total   int        // partitions of the projection
	pending Partitions // those that are not there yet
	aside   bool       // an event is set aside and is tried again: only a look shows its end
	resets  bool       // the projection is to start over: only a look shows that it has
	hears   bool       // the owners of what is pending hear asks
	stops   bool       // the projection was stopped, and its last worker may be about to say so
	why     string     // what is waited for, in words

	looking bool    // a look is under way
	stale   bool    // which began before replies could be heard
	early   []reply // heard meanwhile
	must    bool    // another look is due at once
	looks   int     // how many were made since something was last heard to have changed
	next    time.Time
}

// earlyKept is how many replies are remembered during a look. Where more come, another look follows.
const earlyKept = 64

// hear takes in a reply, and reports whether that is the end of the wait.
func (w *waiter) hear(r reply) (over bool) {
	switch {
	case w.looking:
		if len(w.early) == earlyKept {
			w.must = true
		} else {
			w.early = append(w.early, r)
		}
		return false
	case !w.looked:
		return false // a look is due anyway
	}
	return w.take(r)
}

// take takes a reply in that came behind the last look.
func (w *waiter) take(r reply) (over bool) {
	first := w.target.first()
	switch {
	case r.total != w.total, r.look && (w.aside || first >= 0):
		w.must = true
	case w.aside || w.resets || r.to < w.last:
	case first >= 0 && r.since >= first: // it may have been set aside before this worker began to reply
		w.must = w.must || w.touches(r)
	default:
		w.pending.remove(&r.partitions)
	}
	return w.over()
}

// touches reports whether r says that something pending is there.
func (w *waiter) touches(r reply) bool {
	pending := w.pending
	return pending.remove(&r.partitions)
}

// over reports whether nothing is waited for any more.
func (w *waiter) over() bool {
	return w.looked && !w.must && !w.aside && !w.resets && w.pending.empty()
}

// found is what a look has found for one waiter.
type found struct {
	exists, paused, stopped, resets bool
	partitions                      int
	last                            int64
	behind                          []int32
	hear                            bool
	low                             int64
	goesOn                          bool
	aside, parked, deferred         []int64
}

// saw takes in what a look has found, with what was heard meanwhile. It returns the error that ends the wait, or whether it is over.
func (w *waiter) saw(f found) (over bool, err error) {
	w.looking, w.must = false, false
	early, stale := w.early, w.stale
	w.early, w.stale = nil, false
	if !f.exists {
		return true, fmt.Errorf("%w: %s", ErrNoProjection, w.target.Projection)
	}
	w.looked, w.last, w.total, w.resets, w.hears, w.stops = true, f.last, f.partitions, f.resets, f.hear, f.stopped
	w.target.Last = f.last // what Head was at the first look
	w.pending = Partitions{}
	for _, p := range f.behind {
		w.pending.Add(int(p))
	}
	if at, is := w.among(f.parked); is {
		return true, fmt.Errorf("%w: the event at position %d, of projection %s", ErrParked, at, w.target.Projection)
	}
	_, w.aside = w.among(f.aside)
	if w.over() {
		return true, nil
	}
	switch {
	case f.paused:
		return true, fmt.Errorf("%w: %s", ErrPaused, w.target.Projection)
	case f.stopped && !f.goesOn:
		return true, fmt.Errorf("%w: %s", ErrStopped, w.target.Projection)
	}
	w.why = w.explain(f)
	if stale {
		w.looked, w.must = false, true
		return false, nil
	}
	for _, r := range early {
		if w.take(r) {
			return true, nil
		}
	}
	return false, nil
}

// explain says what is waited for.
func (w *waiter) explain(f found) string {
	switch {
	case f.resets:
		return "it is to start over, and no worker has done that yet"
	case w.aside:
		if _, later := w.among(f.deferred); later {
			return "the handler wants an event at a time and no earlier; rouse parked list has the time"
		}
		return "an event has failed and is tried again"
	}
	return fmt.Sprintf("partition %d and %d others were at position %d or beyond; rouse status shows who owns them",
		w.pending.first(), len(f.behind)-1, f.low)
}

// among returns the first of positions that is waited for.
func (w *waiter) among(positions []int64) (at int64, is bool) {
	for _, at := range positions {
		if _, is := slices.BinarySearch(w.target.Positions, at); is {
			return at, true
		}
	}
	return 0, false
}

// again forgets what was known, because replies may have been missed since.
func (w *waiter) again() {
	w.looked, w.must, w.looks, w.early, w.stale = false, true, 0, nil, w.looking
}

const (
	// firstPause is that between the first look and the second, where replies are heard; each further one is ten times as long.
	// An event of a type that a projection does not handle moves no checkpoint for a while, so there is no reply before the second.
	// primedPause is the one before the first look, where it is not needed at once.
	primedPause  = 10 * time.Millisecond
	firstPause   = 5 * time.Millisecond
	longestPause = askAgain

	// deafPause and longestDeafPause are the same where they are not; each further one is twice as long.
	deafPause        = 5 * time.Millisecond
	longestDeafPause = 250 * time.Millisecond
)

// pause returns the time until the next look behind one that was made.
func (w *waiter) pause(heard bool) time.Duration {
	pause, factor, longest := firstPause, time.Duration(10), longestPause
	if !heard || !w.hears || w.stops {
		pause, factor, longest = deafPause, 2, longestDeafPause
	}
	for range min(w.looks-1, 10) {
		pause = min(pause*factor, longest)
	}
	return pause
}

// ask returns what the workers are to be asked for w.
func (w *waiter) ask(heard bool) ask {
	a := ask{key: w.key, from: everything, to: max(w.last, w.target.Last), save: !heard}
	if first := w.target.first(); first >= 0 {
		a.from = first
	}
	return a
}
