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

// A seat is sold at most once, and a customer buys at most four, whoever else is buying: the decision reads the events of the seat and of
// the customer, and is made again if one has come meanwhile.
func ExampleAppendIf() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	seat, customer := "seat:12A", "customer:7"
	buy := func() error {
		sold, condition, err := eventstore.ReadTagged(ctx, pool, eventstore.Match{Tags: []string{seat}}, eventstore.Match{Tags: []string{customer}})
		if err != nil {
			return err
		}
		for _, ev := range sold {
			if ev.AggregateID == "12A" {
				return errors.New("the seat is sold")
			}
		}
		if len(sold) >= 4 {
			return errors.New("four seats are enough")
		}
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := eventstore.AppendIf(ctx, tx, condition, eventstore.Stream{Type: "seat", ID: "12A"}, eventstore.Tagged{
				NewEvent: eventstore.NewEvent{Type: "SeatSold", Payload: json.RawMessage(`{"customer": 7}`)},
				Tags:     []string{seat, customer},
			})
			return err
		})
	}
	for {
		err := buy()
		if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction) {
			fmt.Println(err)
			return
		}
	}
}
