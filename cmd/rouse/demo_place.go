package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/pgserver"
)

// schemaPrefix is what the names of the schemas of `rouse demo` begin with.
const schemaPrefix = "rouse_demo_"

// place is where a demo takes place: a server of its own, or a schema of its own in a database that was given.
type place struct {
	app    *app
	server *pgserver.Server // nil: a schema
	schema string
	keeper *child // of the schema; see demo_schema.go
}

// openPlace makes the place and points the app at it.
func (a *app) openPlace(ctx context.Context) (*place, error) {
	if a.databaseURL == "" {
		return a.openServer(ctx)
	}
	return a.openSchema(ctx)
}

func (a *app) openServer(ctx context.Context) (*place, error) {
	if set := forgetPG(); len(set) > 0 {
		if err := a.note("demo starts a server of its own and does not look at %s (for a database of yours, set DATABASE_URL)", strings.Join(set, ", ")); err != nil {
			return nil, err
		}
	}
	if err := a.note("PostgreSQL is being started"); err != nil {
		return nil, err
	}
	server, err := a.startServer(ctx, pgserver.Config{Log: quieter(a.log)})
	if err != nil {
		return nil, err
	}
	p := &place{app: a, server: server}
	if err := a.note("PostgreSQL %d runs until the end, look around with: psql '%s'", server.Major(), a.databaseURL); err != nil {
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

func (a *app) openSchema(ctx context.Context) (*place, error) {
	// The first connection is made here, where what is wrong with it can be explained.
	conn, err := a.connect(ctx, "rouse demo")
	if err != nil {
		return nil, err
	}
	closeConn(conn)
	p := &place{app: a, schema: schemaPrefix + randomHex()}
	if p.keeper, err = a.startSchemaKeeper(ctx, p.schema, a.childEnvironment(false)); err != nil {
		return nil, err
	}
	a.schema = p.schema
	err = a.note("everything happens in the schema %s at %s, which is dropped at the end", p.schema, a.where())
	if err != nil {
		return nil, errors.Join(err, p.close(context.WithoutCancel(ctx), false))
	}
	return p, nil
}

func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never returns an error
	return hex.EncodeToString(b[:])
}

// environment is what the appender and the workers get to know of the place.
func (p *place) environment(a *app) []string { return a.childEnvironment(p.server != nil) }

// name is what leads to the place: the address of the server, or the name of the schema.
func (p *place) name() string {
	if p.server == nil {
		return p.schema
	}
	return p.app.databaseURL
}

// stay keeps the place after the verdict: a server until ctx ends, a schema for good.
func (p *place) stay(ctx context.Context) error {
	if p.server == nil {
		return p.app.note("the schema stays, drop it with: %s", dropCommand(p.schema))
	}
	if ctx.Err() != nil {
		return nil
	}
	err := p.app.note("the database stays until Ctrl+C: psql '%s'", p.app.databaseURL)
	<-ctx.Done()
	return err
}

// close takes the place away, but for a schema that is to be kept.
func (p *place) close(ctx context.Context, keep bool) error {
	if p.server == nil {
		return stopSchemaKeeper(p.keeper, p.schema, keep)
	}
	return stopServer(ctx, p.server)
}

// childEnvironment is the environment of a child: what this process was told about the database by flags and variables, and
// nothing of how a worker takes part. own tells that the database is one that this process has made.
func (a *app) childEnvironment(own bool) []string {
	drop := []string{"ROUSE_DATABASE_URL", "DATABASE_URL", "ROUSE_SCHEMA", "ROUSE_JSON", "WORKER_ID", "TOTAL_WORKERS", "ROUSE_PARTITIONS",
		"ROUSE_MAX_PARTITIONS", "ROUSE_CONCURRENCY"}
	if own {
		drop = append(drop, "ROUSE_LISTEN_URL")
	}
	env := []string{fmt.Sprintf("ROUSE_DATABASE_URL=%s", a.databaseURL)}
	if a.schema != "" {
		env = append(env, "ROUSE_SCHEMA="+a.schema)
	}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !slices.Contains(drop, name) {
			env = append(env, variable)
		}
	}
	return env
}
