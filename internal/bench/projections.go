package bench

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// counts is a small real projection: one row per aggregate, all of a batch in one statement.
type counts struct{ name string }

func (c counts) Name() string { return c.name }

func (c counts) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, sqlCount, []string{ev.AggregateID}, []int64{1})
	return err
}

func (c counts) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	var t tally
	for _, ev := range events {
		t.add(ev.AggregateID)
	}
	t.queue(batch)
	return nil
}

// nothing is a projection that only has checkpoints.
type nothing struct{ name string }

func (n nothing) Name() string { return n.name }

func (nothing) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

func (nothing) ApplyBatch(context.Context, *pgx.Batch, []eventstore.Event) error { return nil }

// tally adds events up by aggregate, for sqlCount. Its zero value is empty.
type tally struct {
	at     map[string]int
	ids    []string
	events []int64
}

func (t *tally) add(aggregate string) {
	if t.at == nil {
		t.at = map[string]int{}
	}
	i, seen := t.at[aggregate]
	if !seen {
		i = len(t.ids)
		t.at[aggregate] = i
		t.ids, t.events = append(t.ids, aggregate), append(t.events, 0)
	}
	t.events[i]++
}

func (t *tally) queue(batch *pgx.Batch) { batch.Queue(sqlCount, t.ids, t.events) }
