// Command partitioned runs one of N workers that share a projection by number: see README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// partitions bounds how many workers can share the projection. It is kept in the database from the first start on.
const partitions = 8

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

// createTable takes a lock, because two processes that create one table at once disturb each other even with "if not exists".
const createTable = `
	select pg_advisory_xact_lock(hashtext('partitioned_counts'));
	create table if not exists partitioned_counts (partition int, worker int, events bigint not null, primary key (partition, worker))`

func main() {
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(run)
}

func run(ctx context.Context, env app.Env) error {
	index, total, err := number()
	if err != nil {
		return err
	}
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, createTable); err != nil {
		return err
	}
	worker, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{counts{index}},
		Partitions:  partitions,
		Label:       fmt.Sprintf("partitioned-%d", index),
		WorkerIndex: index, TotalWorkers: total,
	})
	if err != nil {
		return err
	}
	fmt.Printf("[Worker %d] of %d, partitions %v of %d, until Ctrl+C\n", index, total, partition.Share(index, total, partitions), partitions)
	err = worker.Run(ctx)
	fmt.Printf("[Worker %d] stopped after %d events\n", index, worker.Status().EventsHandled)
	return err
}

// number reads which of how many workers this is. The id is a number or ends in one, as the names of the pods of a StatefulSet do.
func number() (index, total int, err error) {
	total, err = strconv.Atoi(os.Getenv("TOTAL_WORKERS"))
	if err != nil || total < 1 {
		return 0, 0, fmt.Errorf("TOTAL_WORKERS is %q: set it to the number of all workers, such as WORKER_ID=0 TOTAL_WORKERS=2", os.Getenv("TOTAL_WORKERS"))
	}
	index, err = partition.ParseIndex(os.Getenv("WORKER_ID"), total)
	return index, total, err
}

// counts counts the events of every partition, by the worker that handled them.
type counts struct{ worker int }

// Name names the checkpoints of the projection.
func (counts) Name() string { return "partitioned_counts" }

// Apply counts one event. It prints before the commit: an event whose transaction is rolled back is printed once more.
func (c counts) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	p := partition.Of(ev.Slot, partitions)
	_, err := tx.Exec(ctx, `insert into partitioned_counts as c values ($1, $2, 1)
		on conflict (partition, worker) do update set events = c.events + 1`, p, c.worker)
	if err != nil {
		return err
	}
	fmt.Printf("[Worker %d] partition %d: %s of %s, version %d\n", c.worker, p, ev.Type, ev.Stream(), ev.AggregateVersion)
	return nil
}
