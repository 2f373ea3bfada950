package rouse_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// quiet is a projection that writes nothing but its checkpoints.
type quiet string

func (q quiet) Name() string                                                   { return string(q) }
func (quiet) Apply(context.Context, pgx.Tx, eventstore.Event) error            { return nil }
func (quiet) ApplyBatch(context.Context, *pgx.Batch, []eventstore.Event) error { return nil }

// each is quiet without a batch form: it is called for every event.
type each string

func (e each) Name() string                                        { return string(e) }
func (each) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

// upserting counts the events of each aggregate, in a statement for each event.
type upserting string

func (u upserting) Name() string { return string(u) }

func (upserting) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue("insert into counts values ($1, 1) on conflict (id) do update set n = counts.n + 1", ev.AggregateID)
	return nil
}

// BenchmarkWorker works through a history of 5000 events. One operation is a worker from its start to the end of the history.
func BenchmarkWorker(b *testing.B) {
	const events = 5000
	db, ctx := testdb.New(b), context.Background()
	_, err := db.Pool.Exec(ctx, "create table counts (id text primary key, n bigint not null)")
	require.NoError(b, err)
	_, err = db.Pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'aggregate-' || n % 1000, n / 1000 + 1, 'happened', '{"amount": 100, "currency": "EUR"}'
		from generate_series(0, $1::int - 1) n`, events)
	require.NoError(b, err)
	for _, of := range []struct {
		name string
		make func(name string) rouse.Projection
	}{
		{"nothing", func(name string) rouse.Projection { return quiet(name) }},
		{"nothing, event by event", func(name string) rouse.Projection { return each(name) }},
		{"upsert", func(name string) rouse.Projection { return rouse.Batched(upserting(name)) }},
	} {
		b.Run(of.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				w, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{of.make(fmt.Sprint(of.name, n))}})
				require.NoError(b, err)
				require.NoError(b, w.Drain(b.Context()))
				require.EqualValues(b, events, w.Status().EventsHandled)
			}
		})
	}
}
