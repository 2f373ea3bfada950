// Command userapp is a program as users build it, with package app: a projection of its own, a verb of its own for workers, and its own
// migrations. Tests put it into the place of the command rouse: the files of deploy/ run it, and the stress test kills it.
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
)

//go:embed sql/*.sql
var migrations embed.FS

func main() {
	app.Main(app.Config{
		Name: "myapp", WorkerVerb: "projection-worker", Migrations: migrations,
		Projections: []rouse.Projection{rouse.Batched(orders{})}, Default: []string{"orders"},
		With: func(_ context.Context, env app.Env) (app.Handlers, error) {
			return app.Handlers{Projections: []rouse.Projection{ledger{env.Label}}}, nil
		},
		Worker: announce,
	})
}

// announce has a worker say on its output that it is at work, where a variable asks for it: a test that is about to stop it.
func announce(c *rouse.Config) {
	if os.Getenv("USERAPP_ANNOUNCE") == "" {
		return
	}
	go func() { // the end of the test ends its input, and with it this program
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var once sync.Once
	owns := c.Observer.Owns
	c.Observer.Owns = func(projection string, partitions []int) {
		if owns != nil {
			owns(projection, partitions)
		}
		once.Do(func() { fmt.Println("started") })
	}
}

// orders counts the events of each aggregate.
type orders struct{}

// Name names the checkpoints of the projection.
func (orders) Name() string { return "orders" }

// Queue queues the statement of one event.
func (orders) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue("insert into orders as o values ($1, $2, 1) on conflict (aggregate_type, id) do update set events = o.events + 1", ev.AggregateType, ev.AggregateID)
	return nil
}

// ledger writes down every event that it gets, and keeps a tally for each aggregate.
type ledger struct{ worker string }

// Name names the checkpoints of the projection.
func (ledger) Name() string { return "scalable_projection" }

// Tables are those of the read model.
func (ledger) Tables() []string { return []string{"seen", "tallies"} }

// Apply writes down one event. No constraint keeps a double out, so that it shows.
func (l ledger) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var batch pgx.Batch
	batch.Queue("insert into seen (projection, global_position, aggregate_type, aggregate_id, version, instance) values ($1, $2, $3, $4, $5, $6)",
		l.Name(), ev.GlobalPosition, ev.AggregateType, ev.AggregateID, ev.AggregateVersion, l.worker)
	batch.Queue(`insert into tallies as t (aggregate_type, aggregate_id, events, last_version, out_of_order)
		values ($1, $2, 1, $3, ($3::bigint <> 1)::int)
		on conflict (aggregate_type, aggregate_id) do update
		set events = t.events + 1, last_version = excluded.last_version,
		    out_of_order = t.out_of_order + (excluded.last_version <> t.last_version + 1)::int`,
		ev.AggregateType, ev.AggregateID, ev.AggregateVersion)
	return tx.SendBatch(ctx, &batch).Close()
}
