package parked_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/rousetest"
)

// orders refuses what it cannot read.
type orders struct{ mended bool }

func (*orders) Name() string { return "orders" }

func (o *orders) Apply(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
	if string(ev.Payload) == `"?"` && !o.mended {
		return rouse.Permanent(errors.New("this is no order"))
	}
	fmt.Println("handled", ev.Stream(), "version", ev.AggregateVersion)
	return nil
}

// An event that cannot be handled waits for people, and later events of its aggregate behind it. Once the handler is mended they
// are handled, in order.
func Example() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	place(ctx, db.Pool, "1", `"?"`, `{}`)
	place(ctx, db.Pool, "2", `{}`)
	drain(ctx, db.Pool, &orders{})

	events, err := parked.List(ctx, db.Pool, parked.Filter{Projection: "orders"}, 0)
	if err != nil {
		panic(err)
	}
	for _, ev := range events {
		fmt.Printf("parked %s version %d: %q\n", ev.Aggregate, ev.Version, ev.Error)
	}
	n, err := parked.Retry(ctx, db.Pool, parked.Filter{Projection: "orders", Aggregate: eventstore.Stream{Type: "order", ID: "1"}})
	if err != nil {
		panic(err)
	}
	fmt.Println("retry of", n, "events")
	runUntilNothingIsParked(ctx, db.Pool, &orders{mended: true})
	// Output:
	// handled order/2 version 1
	// parked order/1 version 1: "this is no order"
	// parked order/1 version 2: ""
	// retry of 2 events
	// handled order/1 version 1
	// handled order/1 version 2
}

// place appends an event for each payload.
func place(ctx context.Context, pool *pgxpool.Pool, id string, payloads ...string) {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for _, payload := range payloads {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: id}, eventstore.Any(),
				eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(payload)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// runUntilNothingIsParked runs a worker for so long.
func runUntilNothingIsParked(ctx context.Context, pool *pgxpool.Pool, o *orders) {
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{o}})
	if err != nil {
		panic(err)
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(runCtx) }()
	for {
		events, err := parked.List(ctx, pool, parked.Filter{Projection: "orders"}, 1)
		if err != nil {
			panic(err)
		}
		if len(events) == 0 {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
}

// drain handles what there is.
func drain(ctx context.Context, pool *pgxpool.Pool, o *orders) {
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{o}})
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil {
		panic(err)
	}
}
