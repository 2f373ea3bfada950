package apply

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// Handler has the functions and the rules for the events of one projection. Exactly one of Apply and Do is set.
type Handler struct {
	// Apply writes the effect of one event through tx, which it cannot end.
	Apply func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error

	// ApplyBatch queues the statements of many events. nil: the handler has only Apply, or Do.
	ApplyBatch func(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error

	// Do does the work of one event outside the database, under the epoch of a partition.
	Do func(ctx context.Context, partition int, epoch int64, ev eventstore.Event) error

	// Timeout bounds one call of these functions. 0: no limit.
	Timeout time.Duration

	// BatchTime is how long events are handled before what is done is committed. 0: no limit.
	BatchTime time.Duration

	// AsyncCommit commits without waiting for the disk.
	AsyncCommit bool

	// Retry says how often an event is tried, and when again, before OnFailure decides.
	Retry     Retry
	OnFailure OnFailure
}

// OnFailure is the policy for an event that cannot be handled.
type OnFailure string

// The policies for an event that cannot be handled: set it aside, stop before it, pass over it.
const (
	Park OnFailure = "park"
	Stop OnFailure = "stop"
	Skip OnFailure = "skip"
)

// Hooks are functions that an Applier calls when something happens to a batch, on several goroutines at once. Each may
// be nil. They must not wait, and must not keep or change events.
type Hooks struct {
	// Began is called before every attempt and returns the context that the attempt gets. Ended is called after it, with that
	// context.
	Began func(ctx context.Context, partitions []int, events []eventstore.Event) context.Context
	Ended func(ctx context.Context, partitions []int, events []eventstore.Event, err error)

	Handled   func(events int, took time.Duration)               // a batch is committed
	Committed func(events []eventstore.Event)                    // a batch is committed, and none of it was parked
	Failed    func(events int, err error)                        // an attempt has failed
	GaveUp    func(ev eventstore.Event, to OnFailure, err error) // an event is parked or skipped
	Fenced    func(events int)                                   // a batch was rolled back because of another owner
	Retrying  func()                                             // events are about to be tried again
}

// withDefaults returns h with functions that do nothing in place of nil, except for Began and Ended: preparing their
// arguments costs time, so their callers test for nil.
func (h Hooks) withDefaults() Hooks {
	if h.Handled == nil {
		h.Handled = func(int, time.Duration) {}
	}
	if h.Committed == nil {
		h.Committed = func([]eventstore.Event) {}
	}
	if h.Failed == nil {
		h.Failed = func(int, error) {}
	}
	if h.GaveUp == nil {
		h.GaveUp = func(eventstore.Event, OnFailure, error) {}
	}
	if h.Fenced == nil {
		h.Fenced = func(int) {}
	}
	if h.Retrying == nil {
		h.Retrying = func() {}
	}
	return h
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool { return isPermanent(err) }
