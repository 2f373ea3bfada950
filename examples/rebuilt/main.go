// Command rebuilt mends a read model that a bug has made wrong, beside the one that is live: see README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/projection"
)

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(run)
}

const name = "rebuilt_stock"

// stock keeps how many of an item there are. The one with the bug adds what is sold.
type stock struct{ mended bool }

// Name names the checkpoints of the projection.
func (stock) Name() string { return name }

// Tables names the tables of the read model, so that others can be built beside them.
func (stock) Tables() []string { return []string{"rebuilt_stock"} }

// AggregateTypes are the types of the aggregates whose events it gets.
func (stock) AggregateTypes() []string { return []string{"rebuilt-item"} }

// Queue queues the statement for one event. It names the table without a schema.
func (s stock) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	var of struct{ N int }
	if err := json.Unmarshal(ev.Payload, &of); err != nil {
		return err
	}
	if ev.Type == "StockSold" && s.mended {
		of.N = -of.N
	}
	batch.Queue("insert into rebuilt_stock as s values ($1, $2) on conflict (item) do update set n = s.n + excluded.n", ev.AggregateID, of.N)
	return nil
}

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, "create table if not exists rebuilt_stock (item text primary key, n int not null)"); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return happen(ctx, tx) }); err != nil {
		return err
	}
	buggy, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(stock{})}})
	if err != nil {
		return err
	}
	if err := errors.Join(buggy.Drain(ctx), show(ctx, pool, "with the bug")); err != nil {
		return err
	}

	// The mended program is deployed, and an operator asks for a rebuild: here, or with `rouse projection rebuild rebuilt_stock`.
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(stock{mended: true})}})
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(working) }()
	if err := projection.Rebuild(ctx, pool, name, "", nil); err != nil {
		return err
	}
	stop()
	return errors.Join(<-ended, show(ctx, pool, "rebuilt"))
}

// happen appends that ten of an item came, and that three and two were sold.
func happen(ctx context.Context, tx pgx.Tx) error {
	_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "rebuilt-item", ID: "pen"}, eventstore.Any(),
		eventstore.NewEvent{Type: "StockReceived", Payload: json.RawMessage(`{"N": 10}`)},
		eventstore.NewEvent{Type: "StockSold", Payload: json.RawMessage(`{"N": 3}`)},
		eventstore.NewEvent{Type: "StockSold", Payload: json.RawMessage(`{"N": 2}`)})
	return err
}

func show(ctx context.Context, pool *pgxpool.Pool, when string) error {
	var n int
	if err := pool.QueryRow(ctx, "select n from rebuilt_stock where item = 'pen'").Scan(&n); err != nil {
		return err
	}
	fmt.Printf("%s: %d pens\n", when, n)
	return nil
}
