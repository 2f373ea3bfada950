package cli

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/health"
	statements "github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/tenants"
	"github.com/rouse-es/rouse/metrics"
)

// groupConns is how many connections the workers of a group share, beside which there are two.
const groupConns = 10

// schemaConns is how many connections handlers may use of a pool of their own for each schema, and
// schemasMade is for how many schemas they are made at once.
const (
	schemaConns = 2
	schemasMade = 4
)

// runGroup runs a worker for each schema that --schemas means. cfg is that of each of them, without what it runs.
func runGroup(ctx context.Context, e *env, f workerFlags, names []string, cfg rouse.Config) error {
	patterns, err := patternsOf(e, f.schemas)
	if err != nil {
		return err
	}
	e.db.TunePool = tenants.KeepStatements
	s, err := openStation(ctx, e, f.http, cfg.Label, func(bool) int { return max(groupConns, cfg.Concurrency+2) })
	if err != nil {
		return err
	}
	defer s.close()
	m := metrics.NewGroup(s.pool)
	m.Registry().MustRegister(e.buffer.collector())
	schemas := newSchemaPools(e)
	defer schemas.close()
	g, err := rouse.NewGroup(s.pool, rouse.GroupConfig{
		Schemas: func(ctx context.Context) ([]string, error) { return patterns.Find(ctx, s.pool) },
		Worker: func(ctx context.Context, schema string) (rouse.Config, error) {
			of := cfg
			if err := e.program.checkSchema(ctx, statements.In(s.pool, schema)); err != nil {
				return of, err
			}
			of.Observer = s.observer(func() rouse.Observer { return m.Observer(schema) })
			log := e.log.With().Str("schema", schema).Logger()
			err := schemas.complete(ctx, &of, Work{Schema: schema, Label: cfg.Label, Log: log, Names: names})
			return of, err
		},
		Label: cfg.Label, ListenConn: cfg.ListenConn, Log: e.log,
	})
	if err != nil {
		return err
	}
	m.Watch(g)
	if s.server != nil {
		pages := newGroupPages(e, g, s.server)
		defer s.server.serve(s.server.routes(e.speaking(health.GroupHandler(g)), m.Handler(), pages), pages.close)()
	}
	err = runOrDrain(ctx, g, f.once)
	var handled int64
	status := g.Status()
	for _, one := range status.Schemas {
		handled += one.Worker.EventsHandled
	}
	if err == nil || handled > 0 {
		e.log.Info().Str("worker", cfg.Label).Int("schemas", len(status.Schemas)).Int64("events", handled).Msg("worker stopped")
	}
	return err
}

// schemaPools are the pools that handlers get, one for each schema of a group. They connect when they are used, and let go of a
// connection soon after.
type schemaPools struct {
	e      *env
	making chan struct{} // has an element for each schema whose handlers are being made; who makes them puts it there

	mu    sync.Mutex // protects the field below
	pools map[string]*pgxpool.Pool
}

func newSchemaPools(e *env) *schemaPools {
	return &schemaPools{e: e, making: make(chan struct{}, schemasMade), pools: map[string]*pgxpool.Pool{}}
}

// complete completes the configuration of the worker of a schema. Hundreds of schemas may start at once, so it is done for a few at a
// time, and the connections that it took are closed.
func (s *schemaPools) complete(ctx context.Context, cfg *rouse.Config, w Work) (err error) {
	if s.e.program.With != nil {
		if w.Pool, err = s.of(w.Schema); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s.making <- struct{}{}:
		}
		defer func() { w.Pool.Reset(); <-s.making }()
	}
	return s.e.program.complete(ctx, cfg, w)
}

// of returns the pool of a schema.
func (s *schemaPools) of(schema string) (*pgxpool.Pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pool := s.pools[schema]; pool != nil {
		return pool, nil
	}
	db := s.e.db
	db.Schema = schema
	cfg, err := db.PoolConfig("worker")
	if err != nil {
		return nil, err
	}
	cfg.MinConns, cfg.MaxConns, cfg.MaxConnIdleTime, cfg.HealthCheckPeriod = 0, schemaConns, pageIdle, pageIdle
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	s.pools[schema] = pool
	return pool, nil
}

// close closes them all. The workers have ended.
func (s *schemaPools) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pool := range s.pools {
		pool.Close()
	}
}
