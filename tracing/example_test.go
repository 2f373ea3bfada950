package tracing_test

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/tracing"
)

// The batches of a worker become spans, with links to the spans in which their events were appended.
func Example() {
	ctx := context.Background()
	provider := otel.GetTracerProvider()
	cfg, err := pgxpool.ParseConfig("") // as PostgreSQL's own variables say
	if err != nil {
		panic(err)
	}
	tracing.Pool(cfg, provider)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		panic(err)
	}
	defer pool.Close()

	worker, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{&orders{}},
		Observer:    tracing.Observe(rouse.Observer{}, provider),
	})
	if err != nil {
		panic(err)
	}
	go func() { _ = worker.Run(ctx) }()

	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { // in a request, whose span is in ctx
		_, err := eventstore.Append(tracing.Context(ctx), tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(),
			eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(`{}`)})
		return err
	})
	if err != nil {
		panic(err)
	}
}
