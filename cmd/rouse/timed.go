package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/scaling"
)

// timed is the built-in projection with a watch: it measures from the insert of each event, by the database's clock, to the
// commit of its effect, by this machine's. Where they are not the same machine their difference is in it.
type timed struct {
	scaling.Projection
	inHand []time.Time // when the events in hand were inserted; used by the worker's goroutine only

	mu      sync.Mutex // protects the field below
	samples []time.Duration
}

// Apply counts one event.
func (t *timed) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	t.inHand = append(t.inHand[:0], ev.CreatedAt)
	return t.Projection.Apply(ctx, tx, ev)
}

// ApplyBatch queues the counting of all events.
func (t *timed) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	t.inHand = t.inHand[:0]
	for _, ev := range events {
		t.inHand = append(t.inHand, ev.CreatedAt)
	}
	return t.Projection.ApplyBatch(ctx, batch, events)
}

// committed is called on the worker's goroutine after the commit of what is in hand.
func (t *timed) committed() {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, inserted := range t.inHand {
		t.samples = append(t.samples, max(now.Sub(inserted), 0))
	}
}

// p50 is the median, in milliseconds, of what was committed since the last call; nil if nothing was.
func (t *timed) p50() *float64 {
	t.mu.Lock()
	samples := t.samples
	t.samples = nil
	t.mu.Unlock()
	if len(samples) == 0 {
		return nil
	}
	slices.Sort(samples)
	ms := float64(samples[len(samples)/2].Microseconds()) / 1000
	return &ms
}
