// Package appender appends realistic events of users, orders, accounts and products, at a rate and by several writers at once.
package appender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
)

const (
	// appendTimeout bounds one appending transaction.
	appendTimeout = 30 * time.Second

	// appendTries is how often a transaction is run again that lost against another writer's.
	appendTries = 100

	// longestRun is the most events that an aggregate gets at a time.
	longestRun = 3

	defaultBatch = 50
)

// Appender appends realistic events. Its writers share nothing but the counters: each has aggregates of its own, so they do
// not wait for each other. Other programs may append to the same aggregates; versions go on from what they left.
type Appender struct {
	Pool       *pgxpool.Pool
	Aggregates int     // over how many the events are spread
	Rate       float64 // events/s of all writers together; 0: as fast as possible
	Batch      int     // events per transaction; 0: up to 50, and fewer for a slow rate
	Writers    int     // how many transactions at once

	appended  atomic.Int64
	conflicts atomic.Int64
	last      atomic.Int64 // highest position
}

// perTransaction is how many events one transaction of one writer gets. At a slow rate they are few, so that events come one
// by one and not in bursts.
func (p *Appender) perTransaction() int {
	if p.Batch > 0 {
		return p.Batch
	}
	if p.Rate > 0 {
		return min(max(int(p.Rate/float64(p.Writers)/20), 1), defaultBatch)
	}
	return defaultBatch
}

// Appended returns how many events have been appended so far.
func (p *Appender) Appended() int64 { return p.appended.Load() }

// Conflicts returns how often another program was faster at an aggregate; the events were then appended behind its own.
func (p *Appender) Conflicts() int64 { return p.conflicts.Load() }

// Last returns the highest position of the events so far.
func (p *Appender) Last() int64 { return p.last.Load() }

// Run appends count events, or, endless, any number until ctx is cancelled.
func (p *Appender) Run(ctx context.Context, count int64, endless bool) error {
	writers := min(p.Writers, p.Aggregates)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(count)
	var wg sync.WaitGroup
	for i := range writers {
		w := p.newWriter(i, writers)
		wg.Go(func() {
			if err := w.run(ctx, &left, endless); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && !signal.IsStop(cause) {
		return cause
	}
	return nil
}

// writer is one of the appender's goroutines.
type writer struct {
	*Appender
	random   *rand.Rand
	index    int // this writer's aggregates are every of-th from index on, by number
	of       int
	versions map[int]int64 // by number, as last seen
	interval time.Duration // between two events
	due      time.Time
}

func (p *Appender) newWriter(index, of int) *writer {
	w := &writer{Appender: p, index: index, of: of, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), versions: map[int]int64{}, due: time.Now()}
	if p.Rate > 0 {
		w.interval = time.Duration(float64(time.Second) * float64(of) / p.Rate)
	}
	return w
}

func (w *writer) run(ctx context.Context, left *atomic.Int64, endless bool) error {
	size := int64(w.perTransaction())
	for ctx.Err() == nil {
		n := size
		if !endless {
			if rest := left.Add(-size) + size; rest <= 0 {
				return nil
			} else if rest < size {
				n = rest
			}
		}
		if !w.wait(ctx, n) {
			return nil
		}
		if err := w.transaction(ctx, int(n)); err != nil {
			return err
		}
	}
	return nil
}

// wait keeps the rate. It reports whether ctx lasted so long.
func (w *writer) wait(ctx context.Context, events int64) bool {
	if w.interval == 0 {
		return true
	}
	timer := time.NewTimer(time.Until(w.due))
	defer timer.Stop()
	if late := time.Since(w.due); late > time.Second {
		w.due = w.due.Add(late) // what could not be kept is not made up for
	}
	w.due = w.due.Add(time.Duration(events) * w.interval)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// transaction appends n events to a few aggregates, all or none.
func (w *writer) transaction(ctx context.Context, n int) error {
	// A transaction under way is finished when a signal comes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	var err error
	for range appendTries {
		after := map[int]int64{}
		var position int64
		err = pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
			position, err = w.fill(ctx, tx, n, after)
			return err
		})
		if errors.Is(err, eventstore.ErrRetryTransaction) {
			w.conflicts.Add(1)
			continue
		}
		if err != nil {
			return err
		}
		for i, version := range after {
			w.versions[i] = version
		}
		w.appended.Add(int64(n))
		raise(&w.last, position)
		return nil
	}
	return fmt.Errorf("other writers were faster %d times: %w", appendTries, err)
}

// fill appends n events in tx and notes the versions that the aggregates then have.
func (w *writer) fill(ctx context.Context, tx pgx.Tx, n int, after map[int]int64) (last int64, err error) {
	correlation := eventstore.NewID().String()
	for _, turn := range w.turns(n) {
		appended, err := w.appendRun(ctx, tx, turn, correlation, after)
		if err != nil {
			return 0, err
		}
		last = appended.LastPosition()
	}
	return last, nil
}

// turn is how many events an aggregate gets in one transaction.
type turn struct{ aggregate, events int }

// turns deals n events out. They are in the order of the aggregates, so that transactions of several processes wait for each
// other in turn and not in a circle.
func (w *writer) turns(n int) []turn {
	share := map[int]int{}
	mine := (w.Aggregates-w.index-1)/w.of + 1
	for n > 0 {
		events := min(1+w.random.IntN(longestRun), n)
		share[w.index+w.of*w.random.IntN(mine)] += events
		n -= events
	}
	turns := make([]turn, 0, len(share))
	for aggregate, events := range share {
		turns = append(turns, turn{aggregate, events})
	}
	slices.SortFunc(turns, func(a, b turn) int { return a.aggregate - b.aggregate })
	return turns
}

// appendRun appends events to one aggregate, at the version that it is thought to have, and at the one that it has if that
// is another.
func (w *writer) appendRun(ctx context.Context, tx pgx.Tx, t turn, correlation string, after map[int]int64) (eventstore.Appended, error) {
	version := w.versions[t.aggregate]
	for {
		events := make([]eventstore.NewEvent, t.events)
		for i := range events {
			events[i] = sampleEvent(w.random, t.aggregate, version+int64(i), correlation)
		}
		appended, err := eventstore.Append(ctx, tx, sampleStream(t.aggregate), eventstore.Exact(version), events...)
		var conflict *eventstore.ConflictError
		switch {
		case err == nil:
			after[t.aggregate] = appended.LastVersion
			return appended, nil
		case errors.As(err, &conflict):
			if version != 0 {
				w.conflicts.Add(1) // the first look at an aggregate is none
			}
			version = conflict.Actual
		default:
			return eventstore.Appended{}, err
		}
	}
}

// raise makes a counter at least n.
func raise(counter *atomic.Int64, n int64) {
	for have := counter.Load(); have < n && !counter.CompareAndSwap(have, n); have = counter.Load() {
	}
}
