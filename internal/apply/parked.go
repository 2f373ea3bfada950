package apply

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// queueTimeout bounds a statement that searches the queue of parked events, which may be long.
const queueTimeout = 30 * time.Second

// aggregates is a set of aggregates that have parked events.
type aggregates map[eventstore.Stream]struct{}

// has reports whether the aggregate of ev is in a.
func (a aggregates) has(ev eventstore.Event) bool {
	_, has := a[ev.Stream()]
	return has
}

// of returns the aggregates of events that are in a, nil if none is.
func (a aggregates) of(events []eventstore.Event) aggregates {
	var of aggregates
	for _, ev := range events {
		if a.has(ev) {
			if of == nil {
				of = aggregates{}
			}
			of[ev.Stream()] = struct{}{}
		}
	}
	return of
}

// scanAggregates reads rows of aggregate type and id.
func scanAggregates(rows pgx.Rows) (aggregates, error) {
	set := aggregates{}
	var s eventstore.Stream
	_, err := pgx.ForEachRow(rows, []any{&s.Type, &s.ID}, func() error {
		set[s] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rouse: read which aggregates are parked: %w", err)
	}
	return set, nil
}

// parkedAggregates remembers the aggregates that have parked events. It may remember one too many, whose last event an
// operator has discarded; never one too few, because only the owner of a partition parks. Its methods may be called by
// several goroutines.
type parkedAggregates struct {
	mu   sync.Mutex // protects the fields below
	set  aggregates
	next time.Time // when the first of them is due; zero: none is, as far as is known
}

// among returns the aggregates of events that may have parked events before them, nil if none has.
func (p *parkedAggregates) among(events []eventstore.Event) aggregates {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.set) == 0 {
		return nil
	}
	return p.set.of(events)
}

// add notes that ev was parked.
func (p *parkedAggregates) add(ev eventstore.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set[ev.Stream()] = struct{}{}
}

// keep forgets the aggregates of the set of that are not in still.
func (p *parkedAggregates) keep(of, still aggregates) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream := range of {
		if _, is := still[stream]; !is {
			delete(p.set, stream)
		}
	}
}

// forget notes that nothing is parked of the aggregate of ev any longer.
func (p *parkedAggregates) forget(ev eventstore.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.set, ev.Stream())
}

// has reports whether events of an aggregate may be parked.
func (p *parkedAggregates) has(of eventstore.Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, has := p.set[of]
	return has
}

// nextDue returns when the first aggregate is due; ok is false if none is, or nothing is parked.
func (p *parkedAggregates) nextDue() (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, len(p.set) > 0 && !p.next.IsZero()
}

// dueIn notes that an aggregate is due after wait.
func (p *parkedAggregates) dueIn(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := time.Now().Add(wait); p.next.IsZero() || at.Before(p.next) {
		p.next = at
	}
}

// looked forgets when an aggregate is due, because the table has just been read.
func (p *parkedAggregates) looked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = time.Time{}
}

// load reads the aggregates that have parked events in the partitions of c. They are to be looked at.
func (p *parkedAggregates) load(ctx context.Context, pool db.Sender, c *Checkpoints) error {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	p.dueIn(0)
	return db.Query(ctx, pool, func(rows pgx.Rows) (err error) {
		p.set, err = scanAggregates(rows)
		return err
	}, sqlParkedAggregates.In(c.schema), c.projection, c.total, c.Owned())
}

// heldQueue asks which of some aggregates still have parked events, once it holds the locks of their partitions. The
// answer is good to the end of the transaction.
type heldQueue struct {
	schema     string
	projection string
	partitions []int
	of         aggregates
	still      aggregates // the answer, written when the batch is read
}

// queue queues the two statements, lock before question: the question's snapshot must be younger than the wait for the
// locks.
func (h *heldQueue) queue(batch *pgx.Batch) {
	batch.Queue(sqlParkedHold.In(h.schema), h.projection, h.partitions)
	types, ids := make([]string, 0, len(h.of)), make([]string, 0, len(h.of))
	for s := range h.of {
		types, ids = append(types, s.Type), append(ids, s.ID)
	}
	batch.Queue(sqlParkedStill.In(h.schema), h.projection, types, ids).Query(func(rows pgx.Rows) (err error) {
		h.still, err = scanAggregates(rows)
		return err
	})
}
