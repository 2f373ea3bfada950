// Package builtin is the program rouse: an app whose projections are there to see it work with, and which has two verbs of its own, demo
// and bench.
package builtin

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/internal/cli"
	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/scaling"
)

const long = `Rouse turns events in a PostgreSQL table into read models: pushed when an event is
appended, exactly once, in order per aggregate, over one or many worker processes.

Projections of your own run in a program of your own, which has all of these verbs but demo
and bench (package app). To see workers work, there are two here: ` + scaling.Name + `,
which counts the events of every aggregate in the table scaling_activity, and ` + demo.Name + `, which
writes a row for every event in the table ` + demo.Name + `.`

// App is the program.
func App() app.Config {
	cfg := app.Config{
		Name: "rouse", Short: "Push-driven projections over PostgreSQL", Long: long,
		Projections: []rouse.Projection{scaling.Projection{}, demo.Projection{}}, Default: []string{scaling.Name},
		With: makeTables, Worker: putLabel,
	}
	for _, verb := range cli.Verbs() {
		cfg.Commands = append(cfg.Commands, app.Command{Cobra: verb.Cobra})
	}
	return cfg
}

// makeTables makes the tables of the projections that are about to run. It returns none.
func makeTables(ctx context.Context, env app.Env) (app.Handlers, error) {
	for name, ensure := range map[string]func(context.Context, *pgxpool.Pool) error{scaling.Name: scaling.Ensure, demo.Name: demo.Ensure} {
		if env.Runs(name) {
			if err := ensure(ctx, env.Pool); err != nil {
				return app.Handlers{}, err
			}
		}
	}
	return app.Handlers{}, nil
}

// putLabel has the projections write the label of the worker.
func putLabel(cfg *rouse.Config) {
	for i, p := range cfg.Projections {
		switch p.(type) {
		case scaling.Projection:
			cfg.Projections[i] = scaling.Projection{Label: cfg.Label}
		case demo.Projection:
			cfg.Projections[i] = demo.Projection{Label: cfg.Label}
		}
	}
}
