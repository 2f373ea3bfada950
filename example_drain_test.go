package rouse_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// printed prints the events of an aggregate, in order.
type printed struct{}

func (printed) Name() string { return "printed" }

func (printed) Apply(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
	fmt.Println(ev.Type, "of", ev.Stream(), "version", ev.AggregateVersion)
	return nil
}

// Everything that is there is handled, once: for jobs and tests. The next worker goes on behind it.
func ExampleWorker_Drain() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	for _, eventType := range []string{"OrderPlaced", "OrderPaid"} {
		err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(),
				eventstore.NewEvent{Type: eventType, Payload: []byte(`{}`)})
			return err
		})
		if err != nil {
			panic(err)
		}
		worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{printed{}}})
		if err != nil {
			panic(err)
		}
		fmt.Println(worker.Drain(ctx))
	}
	// Output:
	// OrderPlaced of order/1 version 1
	// <nil>
	// OrderPaid of order/1 version 2
	// <nil>
}
