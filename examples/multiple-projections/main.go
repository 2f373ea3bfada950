// Command multiple-projections runs two projections and an effect in one worker: see README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
)

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(run)
}

const readModels = `
	create table if not exists multi_customers (customer text primary key, orders bigint not null);
	create table if not exists multi_revenue (currency text primary key, cents bigint not null)`

// orderType scopes what embeds it to one type of event.
type orderType struct{}

// EventTypes are the events that it gets.
func (orderType) EventTypes() []string { return []string{"OrderPlaced"} }

// customers counts the orders of every customer.
type customers struct{ orderType }

// Name names the checkpoints of the projection.
func (customers) Name() string { return "multi_customers" }

// Queue queues the statement that counts one order.
func (customers) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into multi_customers as c values ($1::json->>'customer', 1)
		on conflict (customer) do update set orders = c.orders + 1`, ev.Payload)
	return nil
}

// revenue adds up what was ordered.
type revenue struct{ orderType }

// Name names the checkpoints of the projection.
func (revenue) Name() string { return "multi_revenue" }

// Queue queues the statement that adds one order.
func (revenue) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into multi_revenue as r values ('EUR', ($1::json->>'cents')::bigint)
		on conflict (currency) do update set cents = r.cents + excluded.cents`, ev.Payload)
	return nil
}

// mail is an effect: it works outside the database, so after a crash an event may come again. The event's id tells.
type mail struct{ orderType }

// Name names the checkpoints of the effect.
func (mail) Name() string { return "multi_mail" }

// StartFrom is the beginning, as its orders are placed by this program. On the log of others, Beginning would send a mail for every order
// that there ever was, and Now for those to come.
func (mail) StartFrom() rouse.Start { return rouse.Beginning }

// Do would send a mail.
func (mail) Do(_ context.Context, ev eventstore.Event) error {
	fmt.Printf("mail: %s is on its way (key %s)\n", ev.AggregateID, ev.ID)
	return nil
}

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, readModels); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return place(ctx, tx) }); err != nil {
		return err
	}
	worker, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{rouse.Batched(customers{}), rouse.Batched(revenue{})},
		Effects:     []rouse.Effect{mail{}},
	})
	if err != nil {
		return err
	}
	if err := worker.Drain(ctx); err != nil {
		return err
	}
	return show(ctx, pool)
}

// place appends three orders.
func place(ctx context.Context, tx pgx.Tx) error {
	for _, payload := range []string{
		`{"customer": "alice", "cents": 4200}`, `{"customer": "bob", "cents": 1250}`, `{"customer": "alice", "cents": 999}`,
	} {
		order := eventstore.Stream{Type: "order", ID: eventstore.NewID().String()}
		_, err := eventstore.Append(ctx, tx, order, eventstore.NoStream(), eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(payload)})
		if err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `select 'orders of ' || customer, orders from multi_customers
		union all select 'revenue in cents of ' || currency, cents from multi_revenue order by 1`)
	if err != nil {
		return err
	}
	var what string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error {
		fmt.Printf("%s: %d\n", what, n)
		return nil
	})
	return err
}
