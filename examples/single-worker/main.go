// Command single-worker runs one projection in one process until it is stopped: see README.md.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

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

// types counts the events of every type.
type types struct{}

// Name names the checkpoints of the projection.
func (types) Name() string { return "single_worker_types" }

// Apply counts one event. It prints before the commit: if the transaction is rolled back, the event is handled, and printed,
// once more. ../scaling prints after it.
func (types) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var events int64
	err := tx.QueryRow(ctx, `insert into single_worker_types as t values ($1, 1)
		on conflict (event_type) do update set events = t.events + 1 returning events`, ev.Type).Scan(&events)
	if err != nil {
		return err
	}
	fmt.Printf("position %d: %s of %s, number %d of its type\n", ev.GlobalPosition, ev.Type, ev.Stream(), events)
	return nil
}

func run(ctx context.Context, env app.Env) error {
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists single_worker_types (event_type text primary key, events bigint not null)`); err != nil {
		return err
	}
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{types{}}})
	if err != nil {
		return err
	}
	fmt.Println("waiting for events, until Ctrl+C")
	err = worker.Run(ctx) // nil after Ctrl+C
	fmt.Printf("stopped after %d events\n", worker.Status().EventsHandled)
	return err
}
