package eventstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// A name is taken once, whichever stream has taken it: the second append fails, because its condition no longer holds.
func ExampleNoEvents() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	register := func(user string) error {
		free := eventstore.NoEvents(eventstore.Match{Tags: []string{"name:ann"}})
		return pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			_, err := eventstore.AppendIf(ctx, tx, free, eventstore.Stream{Type: "user", ID: user}, eventstore.Tagged{
				NewEvent: eventstore.NewEvent{Type: "Registered", Payload: []byte(`{"name": "ann"}`)},
				Tags:     []string{"name:ann"},
			})
			return err
		})
	}
	fmt.Println(register("17"))
	fmt.Println("taken:", errors.Is(register("18"), eventstore.ErrConflict))
	// Output:
	// <nil>
	// taken: true
}

// Tags may be given by an append that asks for the version of its stream and for nothing else, for decisions that come later.
func ExampleAppendTagged() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendTagged(ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.NoStream(), eventstore.Tagged{
			NewEvent: eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(`{}`)},
			Tags:     []string{"customer:ann"},
		})
		return err
	})
	if err != nil {
		panic(err)
	}
	events, _, err := eventstore.ReadTagged(ctx, db.Pool, eventstore.Match{Tags: []string{"customer:ann"}})
	fmt.Println(len(events), err)
	// Output: 1 <nil>
}

// A stream of any length is read in pages, of which one is in memory at a time.
func ExamplePages() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	meter := eventstore.Stream{Type: "meter", ID: "7"}
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		for range 5 {
			read := eventstore.NewEvent{Type: "MeterRead", Payload: []byte(`{}`)}
			if _, err := eventstore.Append(ctx, tx, meter, eventstore.Any(), read); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	for page, err := range eventstore.Pages(ctx, db.Pool, meter, eventstore.ReadOptions{Limit: 2}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(len(page), "from version", page[0].AggregateVersion)
	}
	// Output:
	// 2 from version 1
	// 2 from version 3
	// 1 from version 5
}
