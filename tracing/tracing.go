// Package tracing makes OpenTelemetry spans of the work of a rouse.Worker, and links them to the traces of the appends.
//
// Where events are appended, give Append the context of the current span:
//
//	_, err = eventstore.Append(tracing.Context(ctx), tx, stream, expected, events...)
//
// Its trace context goes into the metadata of the events, as "traceparent" of W3C Trace Context. Other writers may put
// it there themselves. In the worker:
//
//	cfg, err := pgxpool.ParseConfig(address)
//	...
//	tracing.Pool(cfg, provider) // a span for each statement of a handler
//	...
//	rouse.Config{Observer: tracing.Observe(observer, provider), ...} // and around them one for each batch
//
// The span of a batch begins a trace of its own, because a batch has events of many traces; it has links to them.
// Statements outside of batches, such as reads of the log, have no spans. Spans hold the text of statements, never
// their parameters, and nothing of a payload.
package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

const (
	scopeName = "github.com/rouse-es/rouse/tracing"

	keyParent = "traceparent"
	keyState  = "tracestate"

	// maxLinks is the maximum number of links of a span, which is the number that OpenTelemetry keeps by default.
	maxLinks = 128
)

// The attributes of a batch's span.
const (
	AttributeProjection = attribute.Key("rouse.projection")
	AttributePartitions = attribute.Key("rouse.partitions") // the partitions of its events
	AttributeEvents     = attribute.Key("rouse.events")     // their number
	AttributeFirst      = attribute.Key("rouse.position.first")
	AttributeLast       = attribute.Key("rouse.position.last")
)

// Context returns a context under which eventstore.Append writes the trace context of the current span into the
// metadata of events. Without a span it returns ctx itself.
func Context(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for _, key := range []string{keyParent, keyState} {
		if value := carrier.Get(key); value != "" {
			ctx = eventstore.WithMetadata(ctx, key, value)
		}
	}
	return ctx
}

// Appended returns the span under which an event was appended; ok is false if its metadata does not have one.
func Appended(ev eventstore.Event) (span trace.SpanContext, ok bool) {
	if !bytes.Contains(ev.Metadata, []byte(`"`+keyParent+`"`)) {
		return span, false
	}
	var metadata struct {
		Parent string `json:"traceparent"`
		State  string `json:"tracestate"`
	}
	if json.Unmarshal(ev.Metadata, &metadata) != nil {
		return span, false
	}
	carrier := propagation.MapCarrier{keyParent: metadata.Parent, keyState: metadata.State}
	span = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	return span, span.IsValid()
}

// Observe returns o with functions Began and Ended that make a span for every attempt at a batch, and for every event
// of an Effect. They replace those of o.
func Observe(o rouse.Observer, provider trace.TracerProvider) rouse.Observer {
	tracer := provider.Tracer(scopeName)
	o.Began = func(ctx context.Context, b rouse.Batch) context.Context {
		ctx, _ = tracer.Start(ctx, "handle "+b.Projection, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithNewRoot(),
			trace.WithLinks(links(b.Events)...), trace.WithAttributes(
				AttributeProjection.String(b.Projection), AttributePartitions.IntSlice(b.Partitions), AttributeEvents.Int(len(b.Events)),
				AttributeFirst.Int64(b.Events[0].GlobalPosition), AttributeLast.Int64(b.Events[len(b.Events)-1].GlobalPosition)))
		return ctx
	}
	o.Ended = func(ctx context.Context, _ rouse.Batch, err error) {
		span := trace.SpanFromContext(ctx)
		if due, later := rouse.NotBeforeTime(err); later { // nothing has failed
			span.AddEvent("not before " + due.UTC().Format(time.RFC3339))
		} else if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "the batch was rolled back")
		}
		span.End()
	}
	return o
}

// links returns links to the spans of the appends of events, each once, up to maxLinks.
func links(events []eventstore.Event) []trace.Link {
	var links []trace.Link
	seen := map[string]struct{}{} // by trace and span, the same in all events of one append
	for i := range events {
		span, ok := Appended(events[i])
		if !ok {
			continue
		}
		key := span.TraceID().String() + span.SpanID().String()
		if _, twice := seen[key]; twice {
			continue
		}
		seen[key] = struct{}{}
		if links = append(links, trace.Link{SpanContext: span}); len(links) == maxLinks {
			break
		}
	}
	return links
}

// Pool sets the tracer of cfg, so that the connections of the pool make a span for each statement within a recorded
// span: those of handlers.
func Pool(cfg *pgxpool.Config, provider trace.TracerProvider) {
	cfg.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(provider))
}
