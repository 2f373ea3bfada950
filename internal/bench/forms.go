package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// singly is the projection that counts with a statement for each event.
type singly struct{ name string }

func (c singly) Name() string { return c.name }

func (singly) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(sqlCountOne, ev.AggregateID)
	return nil
}

// plain is a projection that only has Apply, and does nothing.
type plain struct{ name string }

func (p plain) Name() string { return p.name }

func (plain) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

func (c *catchup) batched(ctx context.Context) (handled int64, took time.Duration, err error) {
	return c.counted(ctx, func() (took time.Duration, err error) {
		_, took, err = c.worker(ctx, rouse.Batched(singly{fmt.Sprint("bench_batched_", c.round)}))
		return took, err
	})
}

func (c *catchup) apply(ctx context.Context) (int64, time.Duration, error) {
	return c.worker(ctx, plain{fmt.Sprint("bench_apply_", c.round)})
}

// batchedByHand is byHand with a statement for each event instead of one for each batch.
func (c *catchup) batchedByHand(ctx context.Context) (handled int64, took time.Duration, err error) {
	return c.handLoop(ctx, func(ctx context.Context, conn *pgx.Conn, after int64) (n int, last int64, err error) {
		events, err := handEvents(ctx, conn, after)
		if err != nil || len(events) == 0 {
			return 0, after, err
		}
		var batch pgx.Batch
		batch.Queue("begin")
		batch.Queue("set local synchronous_commit = off")
		for i := range events {
			batch.Queue(sqlCountOne, events[i].AggregateID)
		}
		last = events[len(events)-1].GlobalPosition
		batch.Queue("update floor_checkpoint set last = $1", last)
		batch.Queue("commit")
		return len(events), last, conn.SendBatch(ctx, &batch).Close()
	})
}

// applyByHand calls a handler that does nothing for each event, in a transaction that is open meanwhile.
func (c *catchup) applyByHand(ctx context.Context) (handled int64, took time.Duration, err error) {
	handler := plain{}
	_, took, err = c.handLoop(ctx, func(ctx context.Context, conn *pgx.Conn, after int64) (n int, last int64, err error) {
		events, err := handEvents(ctx, conn, after)
		if err != nil || len(events) == 0 {
			return 0, after, err
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return 0, after, err
		}
		defer func() { _ = tx.Rollback(ctx) }() // it is committed by then, unless there is an error to tell
		for i := range events {
			if err := handler.Apply(ctx, tx, events[i]); err != nil {
				return 0, after, err
			}
		}
		handled += int64(len(events))
		last = events[len(events)-1].GlobalPosition
		var batch pgx.Batch
		batch.Queue("set local synchronous_commit = off")
		batch.Queue("update floor_checkpoint set last = $1", last)
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return 0, after, err
		}
		return len(events), last, tx.Commit(ctx)
	})
	return handled, took, err
}

// handEvents reads the next events whole, as a loop does that hands them to a handler.
func handEvents(ctx context.Context, conn *pgx.Conn, after int64) (events []eventstore.Event, err error) {
	rows, err := conn.Query(ctx, sqlReadRaw, after, batchSize)
	if err != nil {
		return nil, err
	}
	var e eventstore.Event
	var id [16]byte
	into := []any{&e.GlobalPosition, &id, &e.AggregateType, &e.AggregateID, &e.AggregateVersion, &e.Type, &e.Version, (*[]byte)(&e.Payload),
		(*[]byte)(&e.Metadata), &e.Slot, &e.CreatedAt}
	events = make([]eventstore.Event, 0, batchSize)
	_, err = pgx.ForEachRow(rows, into, func() error {
		e.ID = id
		events = append(events, e)
		return nil
	})
	return events, err
}
