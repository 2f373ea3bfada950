package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/randid"
)

// SchemaPrefix is what the names of the schemas of `rouse demo` begin with.
const SchemaPrefix = "rouse_demo_"

// place is where a demo takes place: a server of its own, or a schema of its own in a database that was given.
type place struct {
	cfg    Config
	server *pgserver.Server // nil: a schema
	schema string
	keeper *process.Process // of the schema; see keeper.go
}

// openPlace makes the place and points the database at it.
func openPlace(ctx context.Context, cfg Config) (*place, error) {
	if cfg.Database.URL == "" {
		return openServer(ctx, cfg)
	}
	return openSchema(ctx, cfg)
}

func openServer(ctx context.Context, cfg Config) (*place, error) {
	if set := database.ForgetPG(); len(set) > 0 {
		if err := cfg.note("demo starts a server of its own and does not look at %s (for a database of yours, set DATABASE_URL)", strings.Join(set, ", ")); err != nil {
			return nil, err
		}
	}
	if err := cfg.note("PostgreSQL is being started"); err != nil {
		return nil, err
	}
	server, err := cfg.Database.StartServer(ctx, pgserver.Config{Log: quieter(cfg.Log)})
	if err != nil {
		return nil, err
	}
	p := &place{cfg: cfg, server: server}
	if err := cfg.note("PostgreSQL %d runs until the end, look around with: psql '%s'", server.Major(), cfg.Database.URL); err != nil {
		return nil, errors.Join(err, p.close(context.WithoutCancel(ctx), false))
	}
	return p, nil
}

// quieter leaves out the info lines, which would come between those of the demo that say the same.
func quieter(log zerolog.Logger) zerolog.Logger {
	if log.GetLevel() == zerolog.InfoLevel {
		return log.Level(zerolog.WarnLevel)
	}
	return log
}

func openSchema(ctx context.Context, cfg Config) (*place, error) {
	// The first connection is made here, where what is wrong with it can be explained.
	conn, err := cfg.Database.Connect(ctx, "demo")
	if err != nil {
		return nil, err
	}
	database.Close(conn)
	p := &place{cfg: cfg, schema: SchemaPrefix + randid.Hex(4)}
	if p.keeper, err = startKeeper(ctx, p.schema, environment(cfg.Database, false)); err != nil {
		return nil, err
	}
	cfg.Database.Schema = p.schema
	err = cfg.note("everything happens in the schema %s at %s, which is dropped at the end", p.schema, cfg.Database.Where())
	if err != nil {
		return nil, errors.Join(err, p.close(context.WithoutCancel(ctx), false))
	}
	return p, nil
}

// environment is what the appender and the workers get to know of the place.
func (p *place) environment() []string { return environment(p.cfg.Database, p.server != nil) }

// name is what leads to the place: the address of the server, or the name of the schema.
func (p *place) name() string {
	if p.server == nil {
		return p.schema
	}
	return p.cfg.Database.URL
}

// stay keeps the place after the verdict: a server until ctx ends, a schema for good.
func (p *place) stay(ctx context.Context) error {
	if p.server == nil {
		return p.cfg.note("the schema stays, drop it with: %s", dropCommand(p.schema))
	}
	if ctx.Err() != nil {
		return nil
	}
	err := p.cfg.note("the database stays until Ctrl+C: psql '%s'", p.cfg.Database.URL)
	<-ctx.Done()
	return err
}

// close takes the place away, but for a schema that is to be kept.
func (p *place) close(ctx context.Context, keep bool) error {
	if p.server == nil {
		return stopKeeper(p.keeper, p.schema, keep)
	}
	return database.StopServer(ctx, p.server)
}

// environment is the environment of a child: what this process was told about the database by flags and variables, and
// nothing of how a worker takes part. own is true for a database that this process has made.
func environment(db *database.Database, own bool) []string {
	drop := []string{"ROUSE_DATABASE_URL", "DATABASE_URL", "ROUSE_SCHEMA", "ROUSE_JSON", "WORKER_ID", "TOTAL_WORKERS", "ROUSE_PARTITIONS",
		"ROUSE_MAX_PARTITIONS", "ROUSE_CONCURRENCY", "ROUSE_IDLE_INTERVAL"}
	if own {
		drop = append(drop, "ROUSE_LISTEN_URL")
	}
	env := []string{fmt.Sprintf("ROUSE_DATABASE_URL=%s", db.URL)}
	if db.Schema != "" {
		env = append(env, "ROUSE_SCHEMA="+db.Schema)
	}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !slices.Contains(drop, name) {
			env = append(env, variable)
		}
	}
	return env
}
