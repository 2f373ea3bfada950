package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/health"
	statements "github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/internal/tenants"
	"github.com/rouse-es/rouse/metrics"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/tracing"
)

// groupConns is how many connections the workers of a group share, beside which there are two.
const groupConns = 10

// runGroup runs a worker for each schema that --schemas means. cfg is that of each of them.
func runGroup(ctx context.Context, e *env, f workerFlags, p Projection, cfg rouse.Config) error {
	patterns, err := patternsOf(e, f.schemas)
	if err != nil {
		return err
	}
	server, err := listenHTTP(ctx, e.log, f.http)
	if err != nil {
		return err
	}
	if server != nil {
		defer func() { _ = server.listener.Close() }() // if it does not come to serving
	}
	spans, stopSpans, err := tracer(ctx, e.log)
	if err != nil {
		return err
	}
	defer stopSpans()
	if spans != nil {
		e.db.TracePool = func(cfg *pgxpool.Config) { tracing.Pool(cfg, spans) }
	}
	e.db.TunePool = tenants.KeepStatements
	pool, err := e.db.Pool(ctx, "rouse worker "+cfg.Label, max(groupConns, cfg.Concurrency+2))
	if err != nil {
		return err
	}
	defer pool.Close()
	m := metrics.NewGroup(pool)
	m.Registry().MustRegister(e.buffer.collector())
	tables := &tables{e: e, pool: pool, p: p}
	g, err := rouse.NewGroup(pool, rouse.GroupConfig{
		Schemas: func(ctx context.Context) ([]string, error) { return patterns.Find(ctx, pool) },
		Worker: func(ctx context.Context, schema string) (rouse.Config, error) {
			of := cfg
			of.Projections = []rouse.Projection{p.Make(cfg.Label)}
			if server != nil {
				of.Observer = m.Observer(schema)
			}
			if spans != nil {
				of.Observer = tracing.Observe(of.Observer, spans)
			}
			return of, tables.ensure(ctx, schema)
		},
		Label: cfg.Label, ListenConn: cfg.ListenConn, Log: e.log,
	})
	if err != nil {
		return err
	}
	m.Watch(g)
	if server != nil {
		pages := newGroupPages(e, g, server)
		defer server.serve(server.routes(health.GroupHandler(g), m.Handler(), pages), pages.close)()
	}
	if f.once {
		err = g.Drain(ctx)
	} else {
		err = signal.IgnoreEnd(ctx, g.Run(ctx))
	}
	var handled int64
	status := g.Status()
	for _, s := range status.Schemas {
		handled += s.Worker.EventsHandled
	}
	if err == nil || handled > 0 {
		e.log.Info().Str("worker", cfg.Label).Int("schemas", len(status.Schemas)).Int64("events", handled).Msg("worker stopped")
	}
	return err
}

// tables makes the tables of the read models.
type tables struct {
	e    *env
	pool *pgxpool.Pool
	p    Projection

	mu sync.Mutex // held while one is made, so that this takes one connection at a time
}

// ensure makes the table of a schema that has a log and not that.
func (t *tables) ensure(ctx context.Context, schema string) error {
	if err := migrations.Check(ctx, statements.In(t.pool, schema)); err != nil {
		return err
	}
	var there bool
	name := pgx.Identifier{schema, t.p.Table}.Sanitize()
	if err := t.pool.QueryRow(ctx, "select to_regclass($1) is not null", name).Scan(&there); err != nil {
		return fmt.Errorf("look for the table %s: %w", name, err)
	}
	if there {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	db := t.e.db
	db.Schema = schema
	cfg, err := db.PoolConfig("rouse worker")
	if err != nil {
		return err
	}
	cfg.MinConns, cfg.MaxConns = 0, 1
	one, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer one.Close()
	return t.p.Ensure(ctx, one)
}
