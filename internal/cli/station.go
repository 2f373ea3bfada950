package cli

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/tracing"
)

// station is what a worker needs before it is made, and what the workers of a group share: the pool, and what shows them to others.
type station struct {
	server *httpServer           // nil without --http
	spans  *trace.TracerProvider // nil where no collector of spans is named
	pool   *pgxpool.Pool
	ends   []func() // what close does, the last one first
}

// openStation opens the station of a worker. conns says how large the pool is, for one that is served or not.
func openStation(ctx context.Context, e *env, f httpFlags, label string, conns func(served bool) int) (_ *station, err error) {
	s := &station{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.server, err = listenHTTP(ctx, e, f); err != nil {
		return nil, err
	}
	if s.server != nil {
		s.ends = append(s.ends, func() { _ = s.server.listener.Close() }) // if it does not come to serving
	}
	spans, stopSpans, err := tracer(ctx, e)
	if err != nil {
		return nil, err
	}
	s.spans, s.ends = spans, append(s.ends, stopSpans)
	if spans != nil {
		e.db.TracePool = func(cfg *pgxpool.Config) { tracing.Pool(cfg, spans) }
	}
	if s.pool, err = e.db.Pool(ctx, "worker "+label, conns(s.server != nil)); err != nil {
		return nil, err
	}
	s.ends = append(s.ends, s.pool.Close)
	return s, nil
}

// observer returns the observer of a worker. measured makes the one that counts for metrics, if they are served.
func (s *station) observer(measured func() rouse.Observer) (o rouse.Observer) {
	if s.server != nil {
		o = measured()
	}
	if s.spans != nil {
		o = tracing.Observe(o, s.spans)
	}
	return o
}

// close ends what openStation began. The workers have ended.
func (s *station) close() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
}

// runOrDrain runs a worker or a group until it is told to end, or with --once until everything is handled.
func runOrDrain(ctx context.Context, w interface {
	Run(ctx context.Context) error
	Drain(ctx context.Context) error
}, once bool) error {
	if once {
		return w.Drain(ctx)
	}
	return signal.IgnoreEnd(ctx, w.Run(ctx))
}
