package catchup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// Follow is the read of a reader that reads again in a moment: head and events, without the look at the locks. It hands out
// what follows the cursor without a hole, which nothing can be put in between of any more, and moves the cursor there. ok is
// false if only a Next can tell what is there, and then nothing has changed.
//
// Blocked means here that committed events wait behind a hole. Nobody has looked whether an append may still fill it: mostly
// one does within a moment, and else a Next has to follow.
//
// With probing it looks for nothing but the event next to the cursor, for a reader that knows of such a hole.
func (r *Reader) Follow(ctx context.Context, limit int, probing bool) (b Batch, ok bool, err error) {
	if r.after < r.settled {
		return Batch{}, false, nil // holes up to there are dead, and a Next reads over them without a look at the locks
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.patience.timeout())
	defer cancel()
	limit = r.patience.limit(r.bound.Limit(limit))
	if probing {
		limit = 1
	}
	upTo := r.after + int64(limit)
	if !probing {
		upTo++ // an event behind a hole shows also where only one is asked for
	}
	found, err := r.exchange(ctx, func(batch *pgx.Batch, needs db.Needs) {
		r.queueHead(batch, needs)
		batch.Queue(sqlRead.In(r.log.Schema), r.after, upTo, limit)
	}, func(results pgx.BatchResults) (reading, error) { return r.collect(results, false, limit, flow{}) })
	if errors.Is(err, errNoHead) {
		return Batch{}, false, nil
	}
	if err = r.patience.note(outer, err, found.full(limit)); err != nil {
		return Batch{}, false, err
	}
	if found.head < r.after {
		return Batch{}, false, fmt.Errorf("%w: its head is %d and the checkpoint %d", ErrLogBehind, found.head, r.after)
	}
	b = r.follow(found, limit)
	b.Blocked = b.Blocked || probing && len(found.events) == 0
	r.after = b.To
	return b, true, nil
}

// follow returns the part of a reading of limit events at most that follows the cursor without a hole.
func (r *Reader) follow(found reading, limit int) Batch {
	b := Batch{From: r.after, To: r.after, Settled: r.after, Holders: -1, Push: r.push}
	n := 0
	for ; n < len(found.events) && found.events[n].GlobalPosition == b.To+1; n++ {
		b.To++
	}
	b.Head, b.Settled = max(found.head, b.To), b.To
	b.Blocked = n < len(found.events)
	b.More = !b.Blocked && (!found.whole || n == limit)
	b.Events = r.mine(found.events[:n])
	return b
}

// mine returns those of events that are in the reader's slots, in the place of events.
func (r *Reader) mine(events []eventstore.Event) []eventstore.Event {
	if r.full {
		return events
	}
	return slices.DeleteFunc(events, func(ev eventstore.Event) bool { return !r.slots.Has(ev.Slot) })
}
