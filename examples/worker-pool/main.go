// Command worker-pool runs several workers in one process: see README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
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
	workers := flag.Int("workers", 4, "how many workers, from 1 to 4")
	flag.Parse()
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(func(ctx context.Context, env app.Env) error { return run(ctx, env.Pool, *workers) })
}

func run(ctx context.Context, pool *pgxpool.Pool, workers int) error {
	if workers < 1 || workers > 4 {
		return fmt.Errorf("--workers %d: from 1 to 4, for which the pool has connections", workers)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists pool_items (item text primary key, events bigint not null)`); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return count(ctx, tx) }); err != nil {
		return err
	}
	return drain(ctx, pool, workers)
}

// drain runs the workers until each has handled what was in its partitions. A program that goes on until it is stopped calls
// Run in the same place. A worker needs three connections of the pool, however many projections it has.
func drain(ctx context.Context, pool *pgxpool.Pool, workers int) error {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		worker, err := rouse.New(pool, rouse.Config{
			Projections: []rouse.Projection{items{}},
			Label:       fmt.Sprintf("pool-%d", i),
			WorkerIndex: i, TotalWorkers: workers,
		})
		if err != nil {
			errs[i] = err
			break
		}
		wg.Go(func() {
			errs[i] = worker.Drain(ctx)
			fmt.Printf("worker %d of %d handled %d events\n", i, workers, worker.Status().EventsHandled)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// items counts the events of every item. The workers use it at the same time, so it holds nothing of its own.
type items struct{}

// Name names the checkpoints of the projection.
func (items) Name() string { return "pool_items" }

// EventTypes are the events that it gets.
func (items) EventTypes() []string { return []string{"ItemCounted"} }

// ApplyBatch counts many events in one round trip.
func (items) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		batch.Queue(countItem, ev.AggregateID)
	}
	return nil
}

// Apply counts one event. It is used to find the event to blame when a batch fails.
func (items) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, countItem, ev.AggregateID)
	return err
}

const countItem = `insert into pool_items as i values ($1, 1) on conflict (item) do update set events = i.events + 1`

// count appends 400 events to 100 items.
func count(ctx context.Context, tx pgx.Tx) error {
	for i := range 100 {
		four := make([]eventstore.NewEvent, 4)
		for j := range four {
			four[j] = eventstore.NewEvent{Type: "ItemCounted", Payload: json.RawMessage(`{}`)}
		}
		if _, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "item", ID: fmt.Sprintf("item-%03d", i)}, eventstore.Any(), four...); err != nil {
			return err
		}
	}
	return nil
}
