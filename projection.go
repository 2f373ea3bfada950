package rouse

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// Projection turns events into a read model in the same database, exactly once.
//
// Its methods are called by Config.Concurrency goroutines at a time, and one aggregate's events by one of them. Other projections
// of the process get the same events: their Payload and Metadata must not be changed.
type Projection interface {
	// Name names the checkpoints in the database. It must never change.
	Name() string

	// Apply writes the effect of one event through tx, which also carries the checkpoint. It must not commit or roll back
	// tx; tx.Begin gives a savepoint. Events of one aggregate come in order. An error rolls the transaction back and is
	// retried; an event that keeps failing stops the projection. ctx is cancelled after Config.HandlerTimeout, when the
	// worker has to stop, and when it can no longer rely on its partitions. A handler that ignores that is left behind after
	// two more seconds: its connection is cut and its partitions go to others until it returns.
	Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
}

// BatchProjection is a Projection that can also queue the statements of many events at once. They travel in one round trip
// together with the begin, the checkpoint and the commit: at 500 events a batch that is an order of magnitude faster than
// Apply. A batch that fails is halved until the event to blame is found; that one
// goes through Apply. Batched makes one of a type that says for a single event what is to be queued.
type BatchProjection interface {
	Projection

	// ApplyBatch queues the statements that write the effects of events, in order. Nothing has been sent when it returns. It
	// must not queue statements that begin or end a transaction. Reading a result, with QueuedQuery.Query and the like, costs
	// one more round trip; an error that is returned from there fails the batch.
	ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error
}

// Effect does work outside the database: it sends a mail, calls a service, publishes a message. Its checkpoint is saved
// after it has returned, so after a crash an event may come again: at least once. Use the event's ID as the idempotency
// key, never its position, which a crash of the server may give to another event.
//
// Its methods are called by Config.Concurrency goroutines at a time, and one aggregate's events by one of them. Others get the same
// events: their Payload and Metadata must not be changed.
type Effect interface {
	// Name names the checkpoints in the database. It must never change.
	Name() string

	// Do does the work of one event. It has no transaction. An error is retried, as for Projection. LeaseOf tells under which
	// epoch it is called, for a service that can refuse a caller who is out of date.
	Do(ctx context.Context, ev eventstore.Event) error
}
