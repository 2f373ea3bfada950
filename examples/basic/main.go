// Command basic is the smallest program that appends events, handles them, and reads what became of them: see README.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
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

//go:generate go run . --migrate

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	migrate := flag.Bool("migrate", false, "apply the migrations, and end")
	flag.Parse()
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	if *migrate {
		app.Run(applyMigrations)
		return
	}
	app.Run(run)
}

// applyMigrations does what the command `rouse migrate` does.
func applyMigrations(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, migrations.Timeout)
	defer cancel()
	conn, err := env.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	applied, err := migrations.Up(ctx, conn.Conn())
	if err != nil {
		return err
	}
	fmt.Printf("applied %d migrations, the schema is at version %d\n", applied, migrations.Latest())
	return nil
}

// balances adds up what was paid into each account.
type balances struct{}

// Name names the checkpoints of the projection.
func (balances) Name() string { return "basic_balances" }

// EventTypes are the events that it gets.
func (balances) EventTypes() []string { return []string{"MoneyDeposited"} }

// Queue queues the statement of one event. The worker sends those of many together, in the transaction of their checkpoint: all of it is
// committed, or nothing.
func (balances) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into basic_balances as b values ($1, ($2::json->>'cents')::bigint)
		on conflict (account) do update set cents = b.cents + excluded.cents`, ev.AggregateID, ev.Payload)
	return nil
}

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists basic_balances (account text primary key, cents bigint not null)`); err != nil {
		return err
	}

	// Append: in a transaction of yours, next to whatever else it does.
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return deposit(ctx, tx) })
	if err != nil {
		return err
	}
	fmt.Println("appended 3 events")

	// Handle: Drain returns when everything that was there is handled. A program that goes on until it is stopped calls Run.
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(balances{})}})
	if err != nil {
		return err
	}
	if err := worker.Drain(ctx); err != nil {
		return err
	}
	fmt.Printf("handled %d events\n", worker.Status().EventsHandled)
	return show(ctx, pool)
}

func deposit(ctx context.Context, tx pgx.Tx) error {
	for _, d := range []struct {
		account string
		payload json.RawMessage
	}{
		{"alice", json.RawMessage(`{"cents": 1000}`)},
		{"alice", json.RawMessage(`{"cents": 250}`)},
		{"bob", json.RawMessage(`{"cents": 500}`)},
	} {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "account", ID: d.account}, eventstore.Any(),
			eventstore.NewEvent{Type: "MoneyDeposited", Payload: d.payload})
		if err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, "select account, cents from basic_balances order by account")
	if err != nil {
		return err
	}
	var account string
	var cents int64
	_, err = pgx.ForEachRow(rows, []any{&account, &cents}, func() error {
		fmt.Printf("  %-6s %6.2f\n", account, float64(cents)/100)
		return nil
	})
	return err
}
