package rouse_test

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// prices keeps the price of each product, and tells a cache about it.
type prices struct{ forget func(product string) }

func (prices) Name() string     { return "prices" }
func (prices) Tables() []string { return []string{"prices"} } // so that it can be rebuilt

func (p prices) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, `insert into prices values ($1, ($2::json->>'cents')::bigint)
		on conflict (product) do update set cents = excluded.cents`, ev.AggregateID, ev.Payload)
	if err == nil && !rouse.Replaying(ctx) {
		p.forget(ev.AggregateID)
	}
	return err
}

// A rebuild handles events that the live projection has handled: what is done beside the read model is left out.
func ExampleReplaying() {
	_ = rouse.Config{Projections: []rouse.Projection{prices{forget: func(string) {}}}}
}
