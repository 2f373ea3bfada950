package parked_test

import (
	"context"
	"fmt"

	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/rousetest"
)

// What will never be handled is given up, and what waited behind it goes on.
func ExampleDiscard() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	place(ctx, db.Pool, "1", `"?"`, `{}`)
	drain(ctx, db.Pool, &orders{})

	first, err := parked.Aggregates(ctx, db.Pool, parked.Filter{Projection: "orders"}, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(first[0].Aggregate, "has", first[0].Events, "events, the first at version", first[0].Version)
	n, err := parked.Discard(ctx, db.Pool, parked.Filter{Projection: "orders", Position: first[0].Position})
	if err != nil {
		panic(err)
	}
	fmt.Println(n, "is given up")
	runUntilNothingIsParked(ctx, db.Pool, &orders{})
	// Output:
	// order/1 has 2 events, the first at version 1
	// 1 is given up
	// handled order/1 version 2
}
