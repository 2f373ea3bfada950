package rouse

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// Queuer says what each event does to a read model, by queueing the statements and not sending them. It may have the same
// optional methods as a Projection: EventTypes, AggregateTypes, OnFailure, Reset.
type Queuer interface {
	// Name names the checkpoints in the database. It must never change.
	Name() string

	// Queue queues the statements that write the effect of one event, in the order in which they are to run. It has the duties
	// of BatchProjection.ApplyBatch.
	Queue(batch *pgx.Batch, ev eventstore.Event) error
}

// Batched makes a BatchProjection of a Queuer: the statements of up to Config.BatchSize events travel in one round trip, with the
// begin, the checkpoint and the commit.
func Batched(q Queuer) BatchProjection { return batched{q} }

type batched struct{ Queuer }

func (b batched) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var batch pgx.Batch
	if err := b.Queue(&batch, ev); err != nil {
		return err
	}
	if batch.Len() == 0 {
		return nil
	}
	readsResults(&batch)
	return tx.SendBatch(ctx, &batch).Close()
}

func (b batched) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if err := b.Queue(batch, ev); err != nil {
			return err
		}
	}
	return nil
}

// optional is what may have the optional methods of a handler.
func optional(handler any) any {
	if b, is := handler.(batched); is {
		return b.Queuer
	}
	return handler
}
