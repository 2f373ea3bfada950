// Command with-logging shows what a worker logs and tells its observer: see README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

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

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists logging_notes (note text primary key, events bigint not null)`); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return take(ctx, tx) }); err != nil {
		return err
	}

	// Debug is a line per batch, info a change of state, warn what the worker copes with, error what needs a person.
	log := zerolog.New(os.Stderr).Level(zerolog.DebugLevel).With().Timestamp().Str("program", "with-logging").Logger()
	worker, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{&notes{}},
		Label:       "with-logging",
		Log:         log,
		Observer:    observer(),
	})
	if err != nil {
		return err
	}
	return worker.Drain(ctx)
}

// observer is where metrics come from. Its functions are called on the worker's goroutines and must not wait.
func observer() rouse.Observer {
	return rouse.Observer{
		Handled: func(projection string, events int, _ time.Duration) {
			fmt.Printf("observer: %s has committed %d events\n", projection, events)
		},
		Failed: func(projection string, events int, err error) {
			fmt.Printf("observer: %s has failed at %d events: %v\n", projection, events, err)
		},
		State: func(projection string, state rouse.State) {
			fmt.Printf("observer: %s is %s\n", projection, state)
		},
	}
}

// errFirst is what the handler fails with, once.
var errFirst = errors.New("the first attempt fails, to show what that looks like")

// notes counts the events of every note. One goroutine uses it at a time: Config.Concurrency is 1 here, its default.
type notes struct{ failed bool }

// Name names the checkpoints of the projection.
func (*notes) Name() string { return "logging_notes" }

// EventTypes are the events that it gets.
func (*notes) EventTypes() []string { return []string{"NoteTaken"} }

// Apply counts one event.
func (n *notes) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if !n.failed {
		n.failed = true
		return errFirst // retried
	}
	_, err := tx.Exec(ctx, `insert into logging_notes as n values ($1, 1)
		on conflict (note) do update set events = n.events + 1`, ev.AggregateID)
	return err
}

// take appends three events.
func take(ctx context.Context, tx pgx.Tx) error {
	for i := range 3 {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "note", ID: fmt.Sprintf("note-%d", i)}, eventstore.Any(),
			eventstore.NewEvent{Type: "NoteTaken", Payload: json.RawMessage(`{}`)})
		if err != nil {
			return err
		}
	}
	return nil
}
