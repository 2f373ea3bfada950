package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// Config configures an Applier. Hooks and Log may be left out.
type Config struct {
	Pool    *db.Pool
	Handler Handler

	// Types are the types of the events that Handler handles.
	Types catchup.Types

	// Concurrency is the number of handlers that run at once, each for its own partitions, at least 1.
	Concurrency int

	// Presence is the key of the presence lock, by which other workers find the sessions that work for this process.
	Presence int32

	// Pace has the size of the batches of Handler, over all Appliers of the projection, one after the other.
	// nil: batches are as large as the events that Apply gets.
	Pace *Pace

	// Breaker is that of the projection, over all Appliers of it, one after the other. nil: one that nobody else sees.
	Breaker *Breaker

	// Versions watches the events of the projection, over all Appliers of it, one after the other.
	Versions *Versions

	// Untried are the tries at parked events that are to be taken back, over all Appliers of the projection as Versions.
	Untried *Untried

	// Handled counts the handled events of the projection, over all its Appliers. They add to it; anyone may read it.
	Handled *atomic.Int64

	// Untold are the tries of the projection without a verdict, over all its Appliers, one after the other. They are to be taken
	// back before Open.
	Untold *Untold

	// Patience is how long failures that others may be the cause of do not count. 0: a minute.
	Patience time.Duration

	// Joint is that of all projections of the process. nil: there is no other.
	Joint *Joint

	// NothingLeft means that earlier owners have left neither attempts nor parked events behind, as Left has found after the claim.
	NothingLeft bool

	Hooks Hooks
	Log   zerolog.Logger
}

// Applier applies the events of one projection under the leases of one claim. One goroutine calls all its methods, so
// nothing is unfinished when AdvanceIdle saves. Where Concurrency is above 1, Apply starts more goroutines and waits
// for them.
type Applier struct {
	committer
	scope       scope
	versions    *Versions
	concurrency int

	untold   *Untold
	patience time.Duration

	untried *Untried
	goRows  int              // how many rows a go takes of a queue
	doubts  map[int64]*doubt // by position of a parked event: what others may have been the cause of
}

// Open returns an Applier for leases, whose checkpoints are given. It reads the attempts and the parked events that
// earlier owners have left behind.
func Open(ctx context.Context, cfg Config, checkpoints *Checkpoints, leases []partition.Lease) (*Applier, error) {
	if cfg.Breaker == nil {
		cfg.Breaker = NewBreaker(BreakerConfig{Log: cfg.Log})
	}
	a := &Applier{
		committer: committer{
			run: runner{handler: cfg.Handler, joint: cfg.Joint, apart: cfg.Joint.apart(checkpoints.projection), tx: transactions{
				pool: cfg.Pool, limit: cfg.Handler.Timeout, async: cfg.Handler.AsyncCommit, effects: cfg.Handler.Do != nil,
				presence: cfg.Presence, restores: &atomic.Bool{},
			}},
			pace: cfg.Pace, breaker: cfg.Breaker, checkpoints: checkpoints, handled: cfg.Handled, hooks: cfg.Hooks.withDefaults(), log: cfg.Log,
		},
		scope: newScope(cfg.Types), versions: cfg.Versions, concurrency: cfg.Concurrency,
		untold: cfg.Untold, patience: cmp.Or(cfg.Patience, patience), untried: cfg.Untried, goRows: goRows, doubts: map[int64]*doubt{},
	}
	if err := a.untried.settle(ctx, cfg.Pool, checkpoints.projection); err != nil {
		return nil, err
	}
	a.attempts.projection, a.attempts.pool, a.attempts.suspects = checkpoints.projection, cfg.Pool, map[int]bool{}
	for _, l := range leases {
		if l.Inherited {
			a.attempts.suspects[l.Partition] = true
		}
	}
	a.attempts.noted, a.parked.set = map[int64]attempt{}, aggregates{}
	if cfg.NothingLeft {
		return a, nil
	}
	if err := a.attempts.load(ctx, checkpoints); err != nil {
		return nil, err
	}
	return a, a.parked.load(ctx, cfg.Pool, checkpoints)
}

// Left returns those of some projections of which earlier owners have left attempts or parked events behind. Only an owner adds
// to them, or an operator, who ends the claims that were before; so there is nothing of the others to load after a claim.
func Left(ctx context.Context, pool *db.Pool, projections []string) (left []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err = db.Query(ctx, pool, func(rows pgx.Rows) error {
		left, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}, sqlLeft.For(pool), projections)
	if err != nil {
		return nil, fmt.Errorf("rouse: look for what earlier owners have left: %w", err)
	}
	return left, nil
}

// Fresh returns the events of b that are to be applied: without those that a partition had passed before this worker
// claimed it, and without those of types that the handler does not handle. It reuses the memory of b.Events.
func (a *Applier) Fresh(b catchup.Batch) []eventstore.Event {
	if b.Partial {
		a.versions.Forget() // the versions in between are not here to be seen
	}
	kept := 0
	for i := range b.Events {
		ev := &b.Events[i]
		if a.checkpoints.Passed(ev) {
			continue
		}
		if !b.Partial {
			a.versions.see(ev)
		}
		if !a.scope.has(ev) {
			continue
		}
		if kept != i { // an event is large to copy, and mostly nothing is left out
			b.Events[kept] = *ev
		}
		kept++
	}
	return b.Events[:kept]
}

// Apply deals events out to at most Concurrency handlers, each with its own partitions, and waits for all of them. Each
// ends after Handler.BatchTime, with what it has done by then; once ctx, whose end is a stop, has ended; once leave is
// closed, because partitions may have to be given up; and once the breaker is open. Apply returns the events that are not
// saved then, in order, in the memory of events; nil: all are. workCtx is the context of handlers and statements.
func (a *Applier) Apply(ctx, workCtx context.Context, leave <-chan struct{}, events []eventstore.Event) (rest []eventstore.Event, err error) {
	left := newBudget(ctx, leave, a.run.handler.BatchTime)
	left.breaker = a.breaker
	lanes := a.deal(events)
	if len(lanes) > 1 {
		return a.applyLanes(ctx, workCtx, left, lanes, events)
	}
	a.checkpoints.alone = true
	defer func() { a.checkpoints.alone = false }()
	done, err := a.applyLane(ctx, workCtx, left, events)
	if err != nil || done == len(events) {
		return nil, err
	}
	return a.Unsaved(events), nil
}

// applyLanes is Apply for more lanes than one, into which events are divided.
func (a *Applier) applyLanes(ctx, workCtx context.Context, left *budget, lanes [][]eventstore.Event, events []eventstore.Event) (rest []eventstore.Event, err error) {
	done, errs := make([]int, len(lanes)), make([]error, len(lanes))
	var wg sync.WaitGroup
	for i := 1; i < len(lanes); i++ {
		// Owned by applyLanes: wg.Wait below waits for every lane. The first lane runs on the caller's goroutine.
		wg.Go(func() { done[i], errs[i] = a.applyLane(ctx, workCtx, left, lanes[i]) })
	}
	done[0], errs[0] = a.applyLane(ctx, workCtx, left, lanes[0])
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, lane := range lanes {
		if done[i] < len(lane) {
			return a.Unsaved(events), nil
		}
	}
	return nil, nil
}

// deal divides events into lanes by partition: a partition is in one lane, and its events stay in order. nil: all are in one.
func (a *Applier) deal(events []eventstore.Event) [][]eventstore.Event {
	n := a.concurrency
	if n == 1 || len(events) < 2 {
		return nil
	}
	lane := map[int]int{} // by partition, dealt out in the order in which they come
	dealt := make([][]eventstore.Event, n)
	for _, ev := range events {
		p := a.checkpoints.partition(ev)
		i, is := lane[p]
		if !is {
			i = len(lane) % n
			lane[p] = i
		}
		dealt[i] = append(dealt[i], ev)
	}
	return slices.DeleteFunc(dealt, func(l []eventstore.Event) bool { return len(l) == 0 })
}

// Unsaved returns those of events that their checkpoints have not passed. It reuses the memory of events.
func (a *Applier) Unsaved(events []eventstore.Event) []eventstore.Event {
	return slices.DeleteFunc(events, func(ev eventstore.Event) bool { return a.checkpoints.Passed(&ev) })
}

// NoteTried writes down a try at each of events, because a handler has not returned from them. Where one is written down already,
// as it is of every parked event, it does nothing.
func (a *Applier) NoteTried(ctx context.Context, events []eventstore.Event) error {
	unnoted := a.unnoted(events)
	if len(unnoted) == 0 {
		return nil
	}
	return a.attempts.note(ctx, unnoted)
}

// unnoted returns those of events at which no try is written down.
func (a *Applier) unnoted(events []eventstore.Event) (unnoted []eventstore.Event) {
	for _, ev := range events {
		if _, noted := a.attempts.of(ev); !noted && !a.checkpoints.Passed(&ev) {
			unnoted = append(unnoted, ev)
		}
	}
	return unnoted
}
