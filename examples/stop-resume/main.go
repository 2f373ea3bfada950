// Command stop-resume shows that a worker goes on where it was stopped: see README.md.
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

const projectionName = "stop_resume_steps"

// statementTimeout bounds what this program itself asks of the database.
const statementTimeout = 30 * time.Second

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	mode := flag.String("mode", "process", "append: add 20 events; status: show how far it has come; process: handle, until Ctrl+C")
	flag.Parse()
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(func(ctx context.Context, env app.Env) error { return run(ctx, env.Pool, *mode) })
}

func run(ctx context.Context, pool *pgxpool.Pool, mode string) error {
	// No key: an event that were handled twice would be there twice.
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists stop_resume_steps (global_position bigint not null)`); err != nil {
		return err
	}
	switch mode {
	case "append":
		return appendSteps(ctx, pool)
	case "status":
		return status(ctx, pool)
	case "process":
		return process(ctx, pool)
	}
	return fmt.Errorf("--mode=%s: append, status or process", mode)
}

func appendSteps(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	steps := make([]eventstore.NewEvent, 20)
	for i := range steps {
		steps[i] = eventstore.NewEvent{Type: "StepTaken", Payload: json.RawMessage(`{}`)}
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		appended, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "walk", ID: "stop-resume"}, eventstore.Any(), steps...)
		if err == nil {
			fmt.Printf("appended versions %d to %d\n", appended.FirstVersion, appended.LastVersion)
		}
		return err
	})
}

// status reads the checkpoints, which are there whether a worker runs or not. An event is handled if the checkpoint of its
// partition has reached it.
func status(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var appended, handled, rows, different int64
	err := pool.QueryRow(ctx, `
		select count(*), count(*) filter (where e.global_position <= c.last_global_position),
		       (select count(*) from stop_resume_steps), (select count(distinct global_position) from stop_resume_steps)
		from events e
		left join projections p on p.projection_name = $1
		left join projection_checkpoints c on c.projection_name = $1 and c.partition = e.slot & (p.partitions - 1)
		where e.event_type = 'StepTaken'`, projectionName).Scan(&appended, &handled, &rows, &different)
	if err != nil {
		return err
	}
	fmt.Printf("appended %d, handled %d, left %d; rows in the read model %d, of different events %d\n", appended, handled, appended-handled, rows, different)
	return nil
}

func process(ctx context.Context, pool *pgxpool.Pool) error {
	// One event per transaction, so that a stop waits for one event and not for a batch of slow ones.
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{steps{}}, BatchSize: 1})
	if err != nil {
		return err
	}
	fmt.Println("handling, until Ctrl+C")
	err = worker.Run(ctx)
	fmt.Printf("stopped after %d events\n", worker.Status().EventsHandled)
	return err
}

// steps is a projection that takes its time.
type steps struct{}

// Name names the checkpoints of the projection.
func (steps) Name() string { return projectionName }

// EventTypes are the events that it gets.
func (steps) EventTypes() []string { return []string{"StepTaken"} }

// Apply writes the event down, slowly.
func (steps) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, "insert into stop_resume_steps values ($1)", ev.GlobalPosition); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(200 * time.Millisecond):
	}
	fmt.Printf("step %d\n", ev.AggregateVersion)
	return nil
}
