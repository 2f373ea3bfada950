package rouse

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
)

// aside remembers of which aggregates events are parked. It may remember one too many, of which somebody has discarded the
// last event; never one too few, because only the owner of a partition parks. May be used by several goroutines.
type aside struct {
	mu  sync.Mutex // protects set
	set parked.Set
}

// among are the aggregates of events that may have parked ones before them.
func (a *aside) among(events []eventstore.Event) parked.Set {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.set) == 0 {
		return nil
	}
	var among parked.Set
	for _, ev := range events {
		if a.set.Has(ev) {
			if among == nil {
				among = parked.Set{}
			}
			among[ev.Stream()] = struct{}{}
		}
	}
	return among
}

func (a *aside) add(ev eventstore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set[ev.Stream()] = struct{}{}
}

// freed forgets those of some aggregates that have no parked events any more.
func (a *aside) freed(of, still parked.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for stream := range of {
		if _, is := still[stream]; !is {
			delete(a.set, stream)
		}
	}
}

func (a *aside) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.set) > 0
}

// sorted handles events of which some may belong behind parked ones. The partitions are locked before it is looked who is
// still parked, so what it finds is true until the commit; that costs a round trip more, and only such batches pay for it.
// It returns how many events were handled; the others are parked.
func (k *work) sorted(ctx context.Context, events []eventstore.Event, end ending, behind parked.Set, a *aside) (handled int, err error) {
	var still parked.Set
	err = k.acquire(ctx, func(conn *pgx.Conn) error {
		tx, err := k.begin(ctx, conn, func(batch *pgx.Batch) { parked.Hold(batch, end.save.Projection, end.partitions(), behind, &still) })
		if err != nil {
			return err
		}
		var rest []eventstore.Event
		var settings []parked.Setting
		for _, ev := range events {
			if still.Has(ev) {
				settings = append(settings, parked.Setting{Event: ev})
			} else {
				rest = append(rest, ev)
			}
		}
		handled = len(rest)
		end := end
		if len(settings) > 0 {
			end.also = append(end.also, func(batch *pgx.Batch) { exec(parked.Park(batch, end.save.Projection, settings)) })
		}
		return k.within(ctx, conn, tx, rest, end)
	})
	if err == nil {
		a.freed(behind, still)
	}
	return handled, err
}

// errFreed means that nothing of an event's aggregate is parked any more.
var errFreed = errors.New("rouse: the aggregate is free")

// setAside parks the event of an effect behind others of its aggregate, or returns errFreed if there are none any more.
func (k *work) setAside(ctx context.Context, ev eventstore.Event, end ending, behind parked.Set, a *aside) error {
	var still parked.Set
	err := k.acquire(ctx, func(conn *pgx.Conn) error {
		_, err := k.begin(ctx, conn, func(batch *pgx.Batch) { parked.Hold(batch, end.save.Projection, end.partitions(), behind, &still) })
		if err != nil {
			return err
		}
		if !still.Has(ev) {
			return errFreed // which rolls back
		}
		end := end
		end.also = append(end.also, func(batch *pgx.Batch) {
			exec(parked.Park(batch, end.save.Projection, []parked.Setting{{Event: ev}}))
		})
		return k.finish(ctx, conn, end)
	})
	if err == nil || errors.Is(err, errFreed) {
		a.freed(behind, still)
	}
	return err
}

// exec reads the result of a statement of the worker's own, so that its error is not taken for that of another.
func exec(q *pgx.QueuedQuery) {
	q.Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return err
	}
}
