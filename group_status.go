package rouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rouse-es/rouse/internal/pulse"
)

// askedLogs is how many logs one GroupHealth asks at most.
const askedLogs = 10

// lookOverdue is how many FindIntervals may pass without a look at the schemas for the Group not to count as ready.
const lookOverdue = 6

// GroupStatus describes a Group at one moment.
type GroupStatus struct {
	Instance, Label string
	Schemas         map[string]SchemaStatus // by schema
}

// SchemaStatus describes one schema of a Group.
type SchemaStatus struct {
	// Worker is the status of its worker. Before the first one was made it is the zero value.
	Worker Status

	// Err is why there is no worker that runs; nil: there is one, or it is starting for the first time. Since is when it was first so,
	// and Retry when it is tried again.
	Err          error
	Since, Retry time.Time
}

// Status returns the present status of every schema that the Group knows.
func (g *Group) Status() GroupStatus {
	s := GroupStatus{Instance: g.process.instance, Label: g.cfg.Label, Schemas: map[string]SchemaStatus{}}
	for _, t := range g.list() {
		w, since, next, err := t.state()
		status := SchemaStatus{Err: err, Since: since, Retry: next}
		if w != nil {
			status.Worker = w.Status()
		}
		s.Schemas[t.schema] = status
	}
	return s
}

// GroupHealth is the result of Group.Health.
type GroupHealth struct {
	// Faults lists the parts that no longer run, those of workers with their schema; empty: every part does. Only a new process mends
	// them.
	Faults []string

	// Waits lists the conditions that the group as a whole is not ready without.
	Waits []string

	// Schemas has the health of each schema. What a schema waits for is not in Waits: one that is broken must not take the others
	// out of service.
	Schemas map[string]Health
}

// Alive reports whether all loops run, of the group and of every worker.
func (h GroupHealth) Alive() bool { return len(h.Faults) == 0 }

// Ready reports whether the group is alive and does its work, but for schemas that are broken: every schema that was found at
// first has started or failed, and if there are schemas, one of them is ready.
func (h GroupHealth) Ready() bool { return len(h.Faults)+len(h.Waits) == 0 }

// Health checks every loop of every worker. A worker whose log is asked is checked as Worker.Health does; with each call that are
// ten others, in turn, so that a call takes ten statements at most, of at most 2 seconds in all, however many schemas there are. Call it every few seconds.
func (g *Group) Health(ctx context.Context) GroupHealth {
	h := GroupHealth{Schemas: map[string]Health{}}
	select {
	case <-g.ended:
		h.Faults = append(h.Faults, "the group has ended")
		return h
	default:
	}
	select {
	case <-g.started:
	default:
		h.Waits = append(h.Waits, "the group has not started: workers of some schemas have neither started nor failed")
	}
	if looked := time.Unix(0, g.looked.Load()); g.looked.Load() != 0 && time.Since(looked) > lookOverdue*g.cfg.FindInterval {
		h.Waits = append(h.Waits, "the schemas of the group cannot be looked for")
	}
	g.checkLoops(&h)
	all := g.list()
	asked := g.takeTurn(len(all))
	healths := make([]Health, len(all))
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, t := range all {
		if !asked(i) {
			healths[i] = t.health(ctx, false)
			continue
		}
		wg.Go(func() { healths[i] = t.health(ctx, true) })
	}
	wg.Wait()
	ready := 0
	for i, t := range all {
		h.Schemas[t.schema] = healths[i]
		for _, fault := range healths[i].Faults {
			h.Faults = append(h.Faults, fmt.Sprintf("schema %s: %s", t.schema, fault))
		}
		if healths[i].Ready() {
			ready++
		}
	}
	if len(all) > 0 && ready == 0 {
		h.Waits = append(h.Waits, "no schema is ready")
	}
	return h
}

// checkLoops checks the goroutines of what the workers share.
func (g *Group) checkLoops(h *GroupHealth) {
	if g.looked.Load() == 0 {
		return // they do not run yet
	}
	if time.Since(g.process.session.Ticked()) > pulse.TickerLimit {
		h.Faults = append(h.Faults, "the loop of the control connection does not run")
	}
	if ears := g.ears.Load(); ears != nil && time.Since(ears.Ticked()) > pulse.TickerLimit {
		h.Faults = append(h.Faults, "the loop of the listener does not run")
	}
}

// unstarted is what a schema waits for whose worker has not started.
const unstarted = "the worker has not started"

// takeTurn returns which of n logs are asked this time.
func (g *Group) takeTurn(n int) (asked func(i int) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n == 0 {
		return func(int) bool { return false }
	}
	from := g.turn % n
	g.turn = (from + askedLogs) % n
	return func(i int) bool { return (i-from+n)%n < askedLogs }
}

// health returns the health of the worker, with a look at the log if ask is set.
func (t *tenant) health(ctx context.Context, ask bool) (h Health) {
	w, _, next, err := t.state()
	pause := max(time.Until(next), 0).Round(time.Second)
	var stopped *StoppedError
	switch {
	case errors.As(err, &stopped): // whose cause is the handler's, and may say anything
		h.wait("projection %s is stopped, and its worker is tried again in %s", stopped.Projection, pause)
	case err != nil:
		h.wait("its worker cannot run, and is tried again in %s: %v", pause, err)
	case w == nil:
		h.wait(unstarted)
	default:
		h = w.health(ctx, ask)
		select {
		case <-w.ended: // the tenant is about to note why, and starts another
			h = Health{Waits: []string{unstarted}}
		default:
		}
	}
	return h
}
