package catchup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// glanceRows is the most that a glance brings, as glance.sql has it.
const glanceRows = 100

// Glance is a quicker read for a reader that had read everything: head and events, without the look at the locks, which
// costs as much as all the rest. The two may share a snapshot, for nothing is concluded from the absence of a row. If
// the events are contiguous up to the head, there is no hole that an append could fill, so they may be handed out, and
// the cursor moves; the same goes for the first of them, where they are more than a read may bring. If the cursor is at the
// head, there is nothing, which an earlier glance has read. Otherwise Glance
// changes nothing and ok is false. A Next should follow: at once, or within a second where the batch is AtHead, to look at
// the triggers.
func (r *Reader) Glance(ctx context.Context) (b Batch, ok bool, err error) {
	if r.patience.limit(r.bound.Limit(glanceRows)) < glanceRows {
		return Batch{}, false, nil // the events of late are so large that it would bring more than there is room for
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.patience.timeout())
	defer cancel()
	found, err := r.exchange(ctx, func(batch *pgx.Batch, needs db.Needs) { // one transaction: it begins with the first statement and ends with the last
		r.queueHead(batch, needs)
		batch.Queue(sqlGlance.In(r.log.Schema), r.after)
	}, func(results pgx.BatchResults) (reading, error) {
		return r.collect(results, false, glanceRows, flow{})
	})
	if errors.Is(err, errNoHead) {
		return Batch{}, false, nil
	}
	if err = r.patience.note(outer, err); err != nil {
		return Batch{}, false, err
	}
	to := r.after
	for _, ev := range found.events {
		if ev.GlobalPosition != to+1 {
			return Batch{}, false, nil
		}
		to++
	}
	if to < found.head && found.whole || to > found.head && to == r.after { // behind the log, Next says what that means
		return Batch{}, false, nil
	}
	b = Batch{From: r.after, To: to, Head: max(found.head, to), Settled: to, More: true, Glanced: true, Push: r.push}
	b.AtHead = to == found.head && found.whole
	for _, ev := range found.events {
		if r.slots.Has(ev.Slot) {
			b.Events = append(b.Events, ev)
		}
	}
	r.after = to
	return b, true, nil
}

// Peek is the cheapest read, for a reader that had read everything and that no push has woken: one statement, which
// returns the head. If the cursor is at the head, a Next would find nothing, and ok is true. Peek does not look at the
// triggers: whether they are enabled matters once there is an append, which moves the head.
func (r *Reader) Peek(ctx context.Context) (b Batch, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	conn, err := db.Acquire(ctx, r.pool)
	if err != nil {
		return Batch{}, false, fmt.Errorf("catchup: connect to read the log: %w", err)
	}
	defer conn.Release()
	head, err := r.scanHead(conn.QueryRow(ctx, sqlPeek.In(r.log.Schema), int64(r.log.Sequence)))
	if err != nil || head == nil || *head != r.after {
		return Batch{}, false, err
	}
	return Batch{From: r.after, To: r.after, Head: *head, Settled: *head, Push: r.push}, true, nil
}
