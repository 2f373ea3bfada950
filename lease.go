package rouse

import (
	"context"

	"github.com/rouse-es/rouse/eventstore"
)

// Lease is what an Effect is called under: a partition of its projection, and the epoch that rises each time the partition
// changes hands. Together they are a fencing token: a service that remembers the highest epoch it has seen of a partition can
// refuse a caller with a lower one, which has been replaced without knowing it yet.
type Lease struct {
	Partition int
	Epoch     int64
}

type leaseKey struct{}

// LeaseOf returns the lease that an Effect's context was made for; ok is false for any other context.
func LeaseOf(ctx context.Context) (lease Lease, ok bool) {
	lease, ok = ctx.Value(leaseKey{}).(Lease)
	return lease, ok
}

func (s *session) leased(ctx context.Context, ev eventstore.Event) context.Context {
	return context.WithValue(ctx, leaseKey{}, Lease{Partition: s.partition(ev), Epoch: s.fence(ev).Epoch})
}
