package rouse_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// passed handles everything by doing nothing.
type passed struct{}

func (passed) Name() string                                          { return "passed" }
func (passed) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

// Before a report is made, everything that is there is to be in it. A Waiter keeps its connection, for a program that waits often.
func ExampleWaiter() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{passed{}}})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	<-worker.Started()
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.NoStream(),
			eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(`{}`)})
		return err
	})
	if err != nil {
		panic(err)
	}

	waiter := rouse.NewWaiter(db.Pool, rouse.WaiterConfig{})
	defer waiter.Close()
	fmt.Println(waiter.WaitForHead(ctx, "passed"))
	fmt.Println(waiter.WaitForPosition(ctx, "passed", 1))
	fmt.Println(rouse.WaitForHead(ctx, db.Pool, "passed"), rouse.WaitForPosition(ctx, db.Pool, "passed", 1)) // the same, now and then
	stop()
	<-ended
	// Output:
	// <nil>
	// <nil>
	// <nil> <nil>
}
