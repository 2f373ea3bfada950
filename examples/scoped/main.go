// Command scoped runs projections that get only some types of events, or the events of some types of aggregates: see
// README.md.
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

// counter counts what it gets by type.
type counter struct{ name string }

// Name names the checkpoints of the projection.
func (c counter) Name() string { return c.name }

// Queue queues the statement that counts one event.
func (c counter) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into scoped_seen as s values ($1, $2, $3, 1)
		on conflict (projection, aggregate_type, event_type) do update set events = s.events + 1`, c.name, ev.AggregateType, ev.Type)
	return nil
}

// registrations gets the events of one type.
type registrations struct{ counter }

// EventTypes are the events that it gets.
func (registrations) EventTypes() []string { return []string{"ScopedRegistered"} }

// orders gets the events of one type of aggregate.
type orders struct{ counter }

// AggregateTypes are the types of the aggregates whose events it gets.
func (orders) AggregateTypes() []string { return []string{"scoped-order"} }

// paid names both: an event must be in both lists.
type paid struct{ orders }

// EventTypes are the events that it gets.
func (paid) EventTypes() []string { return []string{"ScopedPaid"} }

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, `create table if not exists scoped_seen (projection text, aggregate_type text, event_type text,
		events bigint not null, primary key (projection, aggregate_type, event_type))`); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return happen(ctx, tx) }); err != nil {
		return err
	}
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{
		rouse.Batched(registrations{counter{"scoped_registrations"}}),
		rouse.Batched(orders{counter{"scoped_orders"}}),
		rouse.Batched(paid{orders{counter{"scoped_paid"}}}),
	}})
	if err != nil {
		return err
	}
	if err := worker.Drain(ctx); err != nil {
		return err
	}
	return show(ctx, pool)
}

// happen appends five events of three types to two types of aggregates.
func happen(ctx context.Context, tx pgx.Tx) error {
	for _, e := range []struct{ aggregate, id, event string }{
		{"scoped-order", "o-1", "ScopedPlaced"}, {"scoped-order", "o-1", "ScopedPaid"}, {"scoped-order", "o-2", "ScopedPlaced"},
		{"scoped-user", "u-1", "ScopedRegistered"}, {"scoped-user", "u-1", "ScopedPaid"},
	} {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: e.aggregate, ID: e.id}, eventstore.Any(),
			eventstore.NewEvent{Type: e.event, Payload: json.RawMessage(`{}`)})
		if err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, "select projection, aggregate_type, event_type, events from scoped_seen order by 1, 2, 3")
	if err != nil {
		return err
	}
	var projection, aggregate, event string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&projection, &aggregate, &event, &n}, func() error {
		fmt.Printf("%-20s got %d %s of %s\n", projection, n, event, aggregate)
		return nil
	})
	return err
}
