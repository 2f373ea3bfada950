package app_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
)

// orders counts the events of each order.
type orders struct{}

func (orders) Name() string { return "orders" }

func (orders) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue("insert into orders as o values ($1, 1) on conflict (id) do update set events = o.events + 1", ev.AggregateID)
	return nil
}

// files are an embed.FS in a program: //go:embed migrations/*.sql
var files = fstest.MapFS{"migrations/0001_orders.sql": {Data: []byte("create table orders (id text primary key, events bigint not null);")}}

// hook calls an address for each event.
type hook struct {
	client *http.Client
	env    app.Env
}

func (hook) Name() string { return "hook" }

func (h hook) Do(ctx context.Context, ev eventstore.Event) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://example.com/events/"+ev.ID.String(), nil)
	if err != nil {
		return rouse.Permanent(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return rouse.Unavailable(err)
	}
	h.env.Log.Debug().Int("status", resp.StatusCode).Msg("the hook has answered")
	return resp.Body.Close()
}

// The whole of a program: `shop migrate`, `shop worker`, `shop status` and all the others.
func ExampleMain() {
	app.Main(app.Config{
		Name:        "shop",
		Projections: []rouse.Projection{rouse.Batched(orders{})},
		Migrations:  files,
	})
}

// An effect that needs a log, a worker's verb of another name, and a verb of the program's own.
func ExampleMain_with() {
	app.Main(app.Config{
		Name:        "shop",
		Projections: []rouse.Projection{rouse.Batched(orders{})},
		With: func(_ context.Context, env app.Env) (app.Handlers, error) {
			return app.Handlers{Effects: []rouse.Effect{hook{http.DefaultClient, env}}}, nil
		},
		WorkerVerb: "projection-worker",
		Migrations: files,
		Commands: []app.Command{{
			Name: "count", Short: "Count the orders",
			Run: func(ctx context.Context, env app.Env, _ []string) error {
				var n int
				if err := env.Pool.QueryRow(ctx, "select count(*) from orders").Scan(&n); err != nil {
					return err
				}
				fmt.Println(n)
				return nil
			},
		}},
	})
}

// A program that has commands of its own: `shop serve`, and `shop events worker` beside it.
func ExampleCobra() {
	root := &cobra.Command{Use: "shop", SilenceErrors: true}
	root.AddCommand(
		&cobra.Command{Use: "serve", RunE: func(*cobra.Command, []string) error { return nil }},
		app.Cobra(app.Config{Name: "events", Projections: []rouse.Projection{rouse.Batched(orders{})}, Migrations: files}),
	)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, app.Explain(err))
		os.Exit(app.ExitCode(err))
	}
}

// A verb of the program's own that has flags: `shop count --large`.
func ExampleOpen() {
	count := &cobra.Command{Use: "count", Short: "Count the orders"}
	large := count.Flags().Bool("large", false, "those with more than ten events")
	count.RunE = func(cmd *cobra.Command, _ []string) error {
		env, done, err := app.Open(cmd)
		if err != nil {
			return err
		}
		defer done()
		var n int
		if err := env.Pool.QueryRow(cmd.Context(), "select count(*) from orders where events > 10 or not $1", *large).Scan(&n); err != nil {
			return err
		}
		fmt.Println(n)
		return nil
	}
	app.Main(app.Config{Name: "shop", Migrations: files, Commands: []app.Command{{Cobra: count}}})
}

// A program without verbs.
func ExampleRun() {
	app.Run(func(ctx context.Context, env app.Env) error {
		worker, err := rouse.New(env.Pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(orders{})}, Log: env.Log})
		if err != nil {
			return err
		}
		return worker.Run(ctx)
	})
}
