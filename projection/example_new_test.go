package projection_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/rousetest"
)

// ItemAdded and ItemRemoved happen to a cart.
type (
	ItemAdded   struct{ Item string }
	ItemRemoved struct{ Item string }
)

var (
	_ = events.Register[ItemAdded]("ItemAdded", 1)
	_ = events.Register[ItemRemoved]("ItemRemoved", 1)

	// carts keeps what is in each cart. It gets the events of the two types, and no others.
	carts = projection.New("carts",
		projection.Queue(func(b *pgx.Batch, e ItemAdded, ev eventstore.Event) error {
			b.Queue(`insert into carts values ($1, $2) on conflict do nothing`, ev.AggregateID, e.Item)
			return nil
		}),
		projection.Queue(func(b *pgx.Batch, e ItemRemoved, ev eventstore.Event) error {
			b.Queue(`delete from carts where cart = $1 and item = $2`, ev.AggregateID, e.Item)
			return nil
		}),
		projection.Tables("carts"), // so that it can be reset and rebuilt
	)
)

// A projection of handlers, one for each type of event.
func ExampleNew() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{SQL: `create table carts (cart text, item text, primary key (cart, item))`})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		all, err := events.Encode(ItemAdded{"pen"}, ItemAdded{"ink"}, ItemRemoved{"pen"})
		if err != nil {
			return err
		}
		_, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "cart", ID: "7"}, eventstore.NoStream(), all...)
		return err
	})
	if err != nil {
		panic(err)
	}

	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{carts}})
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil {
		panic(err)
	}
	var items string
	if err := db.Pool.QueryRow(ctx, `select string_agg(item, ', ') from carts where cart = '7'`).Scan(&items); err != nil {
		panic(err)
	}
	fmt.Println("in cart 7:", items)
	// Output: in cart 7: ink
}
