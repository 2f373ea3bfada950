package tracing_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/tracing"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// orders refuses an event once, so that its batch is rolled back, and writes one statement for each.
type orders struct{ refused bool }

func (*orders) Name() string { return "orders" }

func (o *orders) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if ev.Type == "OrderRefused" && !o.refused {
		o.refused = true
		return assert.AnError
	}
	_, err := tx.Exec(ctx, "select $1::text", string(ev.Payload))
	return err
}

// TestBatchIsLinkedToTheAppend: its span names where the events are, has the traces of both appends as links, and around it the
// statements of the handler; a batch that was rolled back says so. No payload is in any span.
func TestBatchIsLinkedToTheAppend(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := testdb.New(t)
	exporter := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(exporter))
	tracer := provider.Tracer("test")

	var appends []tracetest.SpanStub
	for _, eventType := range []string{"OrderPlaced", "OrderPaid"} {
		spanCtx, span := tracer.Start(ctx, "append")
		require.NoError(t, pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			for range 2 {
				_, err := eventstore.Append(tracing.Context(spanCtx), tx, eventstore.Stream{Type: "order", ID: "o-1"}, eventstore.Any(),
					eventstore.NewEvent{Type: eventType, Payload: json.RawMessage(`{"card": "4711"}`)})
				if err != nil {
					return err
				}
			}
			return nil
		}))
		span.End()
	}
	_, err := db.Pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, metadata)
		values ('order', 'o-2', 1, 'OrderRefused', '{}', '{"traceparent": "of another kind"}')`)
	require.NoError(t, err)
	appends = exporter.GetSpans()
	require.Len(t, appends, 2)
	exporter.Reset()

	cfg, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	tracing.Pool(cfg, provider)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	require.NoError(t, err)
	defer pool.Close()
	observer := tracing.Observe(rouse.Observer{}, provider)
	require.NoError(t, workertest.Drain(t, pool, rouse.Config{Partitions: 1, Projections: []rouse.Projection{&orders{}}, Observer: observer}))

	var tried []tracetest.SpanStub // in the order of their ends
	ids := map[string]bool{}
	for _, s := range exporter.GetSpans() {
		if s.Name == "handle orders" {
			tried = append(tried, s)
			ids[s.SpanContext.SpanID().String()] = true
		}
	}
	require.GreaterOrEqual(t, len(tried), 2, "the whole, and then its parts")
	whole := tried[0]
	assert.Equal(t, codes.Error, whole.Status.Code)
	assert.Contains(t, whole.Attributes, tracing.AttributeProjection.String("orders"))
	assert.Contains(t, whole.Attributes, tracing.AttributeEvents.Int(5))
	assert.Contains(t, whole.Attributes, tracing.AttributeFirst.Int64(1))
	assert.Contains(t, whole.Attributes, tracing.AttributeLast.Int64(5))
	assert.Contains(t, whole.Attributes, tracing.AttributePartitions.IntSlice([]int{0}))
	require.Len(t, whole.Links, 2, "one for each append, and none for what is no trace")
	for i, link := range whole.Links {
		assert.Equal(t, appends[i].SpanContext.TraceID(), link.SpanContext.TraceID())
		assert.Equal(t, appends[i].SpanContext.SpanID(), link.SpanContext.SpanID())
	}
	last := tried[len(tried)-1]
	assert.Equal(t, codes.Unset, last.Status.Code)
	assert.Contains(t, last.Attributes, tracing.AttributeLast.Int64(5))

	statements := 0
	for _, s := range exporter.GetSpans() {
		if !ids[s.SpanContext.SpanID().String()] {
			assert.True(t, s.Parent.IsValid(), "%s belongs to a batch", s.Name)
		}
		for _, a := range s.Attributes {
			assert.NotContains(t, a.Value.String(), "4711", "%s of %s", a.Key, s.Name)
			if a.Value.Type() == attribute.STRING && a.Value.AsString() == "select $1::text" {
				statements++
			}
		}
	}
	assert.NotZero(t, statements)
}
