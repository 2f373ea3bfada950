package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// The usual round of a command: read the stream, decide, append what was decided, and begin again if another command was
// faster. Package aggregate does this in one call.
func ExampleAppend() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	order := eventstore.Stream{Type: "order", ID: "42"}
	pay := func(tx pgx.Tx) error {
		history, err := eventstore.ReadStream(ctx, tx, order, eventstore.ReadOptions{})
		if err != nil {
			return err
		}
		version := int64(0)
		for _, event := range history {
			if event.Type == "OrderPaid" {
				fmt.Println("it is paid already")
				return nil
			}
			version = event.AggregateVersion
		}
		appended, err := eventstore.Append(ctx, tx, order, eventstore.Exact(version), eventstore.NewEvent{
			Type:    "OrderPaid",
			Payload: json.RawMessage(`{"amount": 1250, "currency": "EUR"}`),
		})
		if err != nil {
			return err
		}
		fmt.Println("paid in version", appended.LastVersion)
		return nil
	}
	for range 2 { // the payment comes twice
		for {
			err := pgx.BeginFunc(ctx, db.Pool, pay)
			if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction) {
				fmt.Println(err)
				break
			}
		}
	}
	// Output:
	// paid in version 1
	// <nil>
	// it is paid already
	// <nil>
}

// Facts that need no decision go to the end of their stream. The events become visible together with everything else
// that the transaction wrote, or not at all.
func ExampleAny() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{SQL: `create table sensors (id int primary key, seen_at timestamptz); insert into sensors values (7)`})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update sensors set seen_at = now() where id = $1`, 7); err != nil {
			return err
		}
		appended, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "sensor", ID: "7"}, eventstore.Any(),
			eventstore.NewEvent{Type: "Measured", Payload: json.RawMessage(`{"celsius": 21.5}`)},
			eventstore.NewEvent{Type: "Measured", Payload: json.RawMessage(`{"celsius": 21.7}`)},
		)
		fmt.Println("versions", appended.FirstVersion, "to", appended.LastVersion)
		return err
	})
	fmt.Println(err)
	// Output:
	// versions 1 to 2
	// <nil>
}

// The events of one stream, from a version on. A long stream is read in parts.
func ExampleReadStream() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	order := eventstore.Stream{Type: "order", ID: "42"}
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(eventstore.WithMetadata(ctx, "by", "alice"), tx, order, eventstore.NoStream(),
			eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{}`)},
			eventstore.NewEvent{Type: "OrderPaid", Payload: json.RawMessage(`{"amount": 1250}`)})
		return err
	})
	if err != nil {
		panic(err)
	}

	events, err := eventstore.ReadStream(ctx, db.Pool, order, eventstore.ReadOptions{FromVersion: 2, Limit: 100})
	if err != nil {
		panic(err)
	}
	for _, event := range events {
		fmt.Println(event.AggregateVersion, event.Type, string(event.Payload), string(event.Metadata))
	}
	// Output: 2 OrderPaid {"amount": 1250} {"by":"alice"}
}

// A conflict knows both versions, and the transaction can go on.
func ExampleConflictError() {
	err := error(&eventstore.ConflictError{
		Stream:   eventstore.Stream{Type: "order", ID: "42"},
		Expected: eventstore.Exact(3),
		Actual:   5,
	})
	var conflict *eventstore.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println(conflict.Actual, errors.Is(err, eventstore.ErrConflict))
	}
	fmt.Println(err)
	// Output:
	// 5 true
	// eventstore: order/42 is at version 5, expected version 3: read the stream and decide again
}
