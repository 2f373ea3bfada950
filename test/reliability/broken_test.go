package reliability_test

import (
	"context"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// broken is a projection that does to some events what must be noticed.
type broken struct {
	recorder
	how string
}

func (b *broken) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	for _, ev := range b.spoil([]eventstore.Event{ev}) {
		if err := b.recorder.Apply(ctx, tx, ev); err != nil {
			return err
		}
	}
	return nil
}

func (b *broken) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	return b.recorder.ApplyBatch(ctx, batch, b.spoil(events))
}

// spoil skips, doubles or swaps one event in 100.
func (b *broken) spoil(events []eventstore.Event) []eventstore.Event {
	var spoilt []eventstore.Event
	for _, ev := range events {
		if rand.IntN(100) > 0 {
			spoilt = append(spoilt, ev)
			continue
		}
		switch b.how {
		case "skips":
		case "doubles":
			spoilt = append(spoilt, ev, ev)
		}
	}
	return spoilt
}
