package rouse_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// accounts keeps what is in every account. It queues the statement of each event; the worker sends those of many together.
type accounts struct{}

func (accounts) Name() string         { return "accounts" }
func (accounts) EventTypes() []string { return []string{"Deposited"} }

func (accounts) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into accounts as a values ($1, ($2::json->>'cents')::bigint)
		on conflict (id) do update set cents = a.cents + excluded.cents`, ev.AggregateID, ev.Payload)
	return nil
}

// The form of a projection to begin with.
func ExampleBatched() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{SQL: `create table accounts (id text primary key, cents bigint not null)`})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "account", ID: "alice"}, eventstore.Any(),
			eventstore.NewEvent{Type: "Deposited", Payload: []byte(`{"cents": 1000}`)},
			eventstore.NewEvent{Type: "Deposited", Payload: []byte(`{"cents": 250}`)})
		return err
	})
	if err != nil {
		panic(err)
	}

	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(accounts{})}})
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil { // Run goes on until ctx ends
		panic(err)
	}
	var cents int64
	if err := db.Pool.QueryRow(ctx, `select cents from accounts where id = 'alice'`).Scan(&cents); err != nil {
		panic(err)
	}
	fmt.Println("alice has", cents, "cents")
	// Output: alice has 1250 cents
}
