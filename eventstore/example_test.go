package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
)

// The usual round of a command: read the stream, decide, append what was decided, and begin again if somebody else was
// faster.
func ExampleAppend() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	order := eventstore.Stream{Type: "order", ID: "42"}
	pay := func(tx pgx.Tx) error {
		history, err := eventstore.ReadStream(ctx, tx, order, eventstore.ReadOptions{})
		if err != nil {
			return err
		}
		version := int64(0)
		for _, event := range history {
			if event.Type == "OrderPaid" {
				return nil // nothing to do
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
	for {
		err := pgx.BeginFunc(ctx, pool, pay)
		if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction) {
			fmt.Println(err)
			return
		}
	}
}

// Facts that need no decision go to the end of their stream. The events become visible together with everything else
// that the transaction wrote, or not at all.
func ExampleAny() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "postgres://localhost/shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()

	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update sensors set seen_at = now() where id = $1`, 7); err != nil {
			return err
		}
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "sensor", ID: "7"}, eventstore.Any(),
			eventstore.NewEvent{Type: "Measured", Payload: json.RawMessage(`{"celsius": 21.5}`)},
			eventstore.NewEvent{Type: "Measured", Payload: json.RawMessage(`{"celsius": 21.7}`)},
		)
		return err
	})
	fmt.Println(err)
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
