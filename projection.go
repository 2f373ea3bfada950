package rouse

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/apply"
)

// Projection turns events into a read model in the same database, exactly once.
//
// Config.Concurrency goroutines call its methods at the same time; the events of one aggregate come from one of them at
// a time. Other projections of the process receive the same events: a handler must not change their Payload and
// Metadata.
type Projection interface {
	// Name returns the name of the checkpoints in the database. It must never change.
	Name() string

	// Apply writes the effect of one event through tx, which also carries the checkpoint. It must not commit or roll
	// back tx; tx.Begin makes a savepoint. Events of one aggregate come in order. An error rolls the transaction back
	// and is retried; OnFailure decides about an event that keeps failing. With Unavailable everything waits and nothing counts. ctx is cancelled after
	// Config.HandlerTimeout, when the worker has to stop, and when it can no longer rely on its partitions. A call that
	// ignores the end of ctx is abandoned after two more seconds: its connection is cut, and its partitions go to other
	// workers until it returns, or for 30 s.
	Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
}

// BatchProjection is a Projection that can also queue the statements of many events at once. They travel in one round
// trip together with the begin, the checkpoint and the commit: at 500 events a batch that is an order of magnitude
// faster than Apply. A batch that fails is halved until the failing event is found, which then goes through Apply.
// Batched makes a BatchProjection of a Queuer, which queues the statements of a single event.
type BatchProjection interface {
	Projection

	// ApplyBatch queues the statements that write the effects of events, in order. How many there are follows the time that
	// the last batches took (Config.BatchTime). The worker sends them after it has
	// returned. It must not queue statements that begin or end a transaction. Reading a result, with QueuedQuery.Query
	// and the like, costs one more round trip; an error returned from such a function fails the batch.
	ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error
}

// Effect does work outside the database: it sends a mail, calls a service, publishes a message. Its checkpoint is saved
// after Do has returned, so after a crash an event may come again: at least once. Use the event's ID as the idempotency
// key, never its position, which a crash of the server may give to another event.
//
// Config.Concurrency goroutines call its methods at the same time; the events of one aggregate come from one of them at
// a time. Other handlers of the process receive the same events: an effect must not change their Payload and Metadata.
type Effect interface {
	// Name returns the name of the checkpoints in the database. It must never change.
	Name() string

	// Do does the work of one event. It has no transaction. An error is retried, as for a Projection. Unavailable says that a service is away. LeaseOf returns
	// the epoch of the call, for a service that can refuse an outdated caller.
	Do(ctx context.Context, ev eventstore.Event) error
}

// Queuer queues the statements that one event requires of a read model, without sending them. It may implement the
// optional interfaces of a Projection: EventTyped, AggregateTyped, FailurePolicy, BatchTimed, Resetter, Starter.
type Queuer interface {
	// Name returns the name of the checkpoints in the database. It must never change.
	Name() string

	// Queue queues the statements that write the effect of ev, in the order in which they run. The rules of
	// BatchProjection.ApplyBatch hold for it.
	Queue(batch *pgx.Batch, ev eventstore.Event) error
}

// Batched returns a BatchProjection that applies events by the statements of q: those of up to Config.BatchSize events
// travel in one round trip, with the begin, the checkpoint and the commit.
func Batched(q Queuer) BatchProjection { return batched{q} }

// batched is the BatchProjection of a Queuer. The embedded Queuer hides its optional methods; see optional.
type batched struct{ Queuer }

// Queued returns what may implement the optional interfaces, for packages that look for them.
func (b batched) Queued() Queuer { return b.Queuer }

// Apply sends the statements of one event, in one round trip inside tx.
func (b batched) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var batch pgx.Batch
	if err := b.Queue(&batch, ev); err != nil {
		return err
	}
	if batch.Len() == 0 {
		return nil
	}
	apply.ReadUnreadResults(&batch)
	return tx.SendBatch(ctx, &batch).Close()
}

// ApplyBatch queues the statements of events in order. The worker sends them.
func (b batched) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if err := b.Queue(batch, ev); err != nil {
			return apply.Deferring(err, &ev)
		}
	}
	return nil
}

// EventTyped is a Projection or an Effect that handles events of some types only. All others are passed over, and its
// checkpoints move on over them. The types may grow later: events of a new type count from the checkpoints on, not from
// the beginning.
type EventTyped interface {
	// EventTypes returns the types of events to handle. New calls it once; none at all means every event.
	EventTypes() []string
}

// AggregateTyped is a Projection or an Effect that handles events of some types of aggregates only. Together with
// EventTyped both must match.
type AggregateTyped interface {
	// AggregateTypes returns the types of aggregates to handle. New calls it once; none at all means every event.
	AggregateTypes() []string
}

// Resetter is a Projection that can empty its read model, so that it can start over.
type Resetter interface {
	// Reset empties the read model through tx, which also moves the checkpoints. It must not commit or roll back tx.
	Reset(ctx context.Context, tx pgx.Tx) error
}

// OnFailure is the policy for an event that its handler cannot handle, once its tries are used up (RetryPolicy).
type OnFailure string

const (
	// Park leaves the event aside, and later events of the same aggregate behind it, in order. All others flow on, as they do
	// between its tries. Package parked retries or discards parked events. It is the default.
	Park = OnFailure(apply.Park)

	// Stop stops the projection before the event, with a StoppedError, until a worker is started anew.
	Stop = OnFailure(apply.Stop)

	// Skip passes over the event for good and goes on with the next, also with those of the same aggregate. Between its tries they
	// wait, as with Park.
	Skip = OnFailure(apply.Skip)
)

// FailurePolicy is a Projection or an Effect with an OnFailure of its own in place of that of Config.
type FailurePolicy interface {
	// OnFailure returns the policy. New may call it more than once; it must return the same value each time.
	OnFailure() OnFailure
}

// BatchTimed is a Projection or an Effect with a BatchTime of its own in place of that of Config: a longer one for a
// handler that gains by larger transactions, a shorter one for an effect that must hardly ever be done twice.
type BatchTimed interface {
	// BatchTime returns the time, as in Config: negative is no limit, and 0 that of Config. New may call it more than once;
	// it must return the same value each time.
	BatchTime() time.Duration
}

// valid reports whether o is one of the three policies.
func (o OnFailure) valid() bool { return o == Park || o == Stop || o == Skip }

// Permanent marks an error of a handler as one that another try cannot mend, so that OnFailure decides at once. It
// returns nil for nil.
func Permanent(err error) error { return apply.Permanent(err) }

// Unavailable marks an error of a handler as not the event's: something that the handler depends on is away, such as a mail
// server or another database. The whole projection waits in this process, also with events that would not need it: it
// becomes StateWaiting and tries the same event again, after a second and then ever more rarely, at least every 20 s. No try
// counts, so nothing is parked, skipped or stopped for it. With the first success everything goes on in order. The text of
// err is shown to people: "waiting for ...". It returns nil for nil.
//
// Without it, a projection waits as well once events of five aggregates in a row have failed: see StateWaiting.
func Unavailable(err error) error { return apply.Unavailable(err) }

// Lease is the ownership under which an Effect is called: a partition of its projection, and the epoch that rises each
// time the partition changes hands. Together they are a fencing token: a service that remembers the highest epoch of a
// partition can refuse a caller with a lower one, which has been replaced without knowing it yet.
type Lease struct {
	Partition int
	Epoch     int64
}

// leaseKey is the context key of the Lease that units puts into the context of Effect.Do.
type leaseKey struct{}

// LeaseOf returns the lease in the context of Effect.Do; ok is false for any other context.
func LeaseOf(ctx context.Context) (lease Lease, ok bool) {
	lease, ok = ctx.Value(leaseKey{}).(Lease)
	return lease, ok
}
