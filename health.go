package rouse

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

// healthTimeout bounds what Health asks the database.
const healthTimeout = 2 * time.Second

// Health is whether a worker works, as far as it can tell.
type Health struct {
	// Faults say what does not run any more; empty: everything does. Only a new process mends them.
	Faults []string

	// Waits say what the worker is not ready for yet; empty: every projection has caught up once, owns the partitions that it
	// should, and the control connection stands.
	Waits []string
}

// Alive tells whether all loops run.
func (h Health) Alive() bool { return len(h.Faults) == 0 }

// Ready tells whether the worker is alive and does all that it should.
func (h Health) Ready() bool { return len(h.Faults)+len(h.Waits) == 0 }

// Health looks at every loop of the worker. It compares how far the readers have come with the last event in the table: one
// that sleeps although there is something to read is told to look, and if it does not within 5 seconds, which a later call
// finds, it is a fault. Being behind, a paused or stopped projection and a database that is away are none: a new process would
// not mend them. It takes one statement of at most 2 seconds; call it every few seconds.
func (w *Worker) Health(ctx context.Context) Health {
	var h Health
	select {
	case <-w.ended:
		h.fault("the worker has ended")
		return h
	default:
	}
	select {
	case <-w.ready:
	default:
		h.wait("the worker has not started")
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	head, err := catchup.LastVisible(ctx, w.pool, math.MaxInt64)
	if err != nil {
		head = 0 // nobody is behind that
		h.wait("the database does not answer")
	}
	w.besideHealth(&h)
	w.tailHealth(&h, &head)
	for _, r := range w.runners {
		r.health(&h, head)
	}
	return h
}

func (h *Health) fault(format string, args ...any) {
	h.Faults = append(h.Faults, fmt.Sprintf(format, args...))
}

func (h *Health) wait(format string, args ...any) {
	h.Waits = append(h.Waits, fmt.Sprintf(format, args...))
}

// besideHealth looks at the goroutines beside the runners.
func (w *Worker) besideHealth(h *Health) {
	if time.Since(w.control.Ticked()) > restLimit {
		h.fault("the loop of the control connection does not run")
	}
	if !w.control.Trusted() {
		h.wait("the control connection does not stand")
	}
	if w.listener != nil && time.Since(w.listener.Ticked()) > restLimit {
		h.fault("the loop of the listener does not run")
	}
}

// tailHealth looks at the shared reader, and lowers head to what it has read, which is all that those who read from it can have.
func (w *Worker) tailHealth(h *Health, head *int64) {
	w.tails.mu.Lock()
	t := w.tails.current
	w.tails.mu.Unlock()
	if t == nil {
		return
	}
	behind, tooLong := t.pulse.asleep(*head)
	if behind {
		select {
		case t.nudges <- struct{}{}:
		default:
		}
	}
	if tooLong || t.pulse.late() {
		h.fault("the reader of the log does not run: there are events up to position %d that it does not read", *head)
	}
	*head = min(*head, t.End())
}

// health looks at the runner of a projection, and at its feed. head is the last event that the tail has.
func (r *runner) health(h *Health, head int64) {
	if r.pulse.late() {
		h.fault("the loop of projection %s does not run", r.name)
	}
	if f := r.feed.Load(); f != nil {
		if _, tooLong := f.pulse.asleep(head); tooLong || f.pulse.late() {
			h.fault("projection %s is not handed events that were read", r.name)
		}
	}
	switch state := r.state(); {
	case state == StateStopped:
		h.wait("projection %s is stopped", r.name)
	case !r.caughtUp.Load():
		h.wait("projection %s has not caught up yet", r.name)
	case !r.planned.Load():
		h.wait("projection %s does not own the partitions that it should", r.name)
	}
}
