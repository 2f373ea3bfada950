package cli

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/signal"
)

// dashboardAddress is where `rouse dashboard` serves if it is not told.
const dashboardAddress = "127.0.0.1:8080"

func dashboardVerb(e *env) *cobra.Command {
	var f httpFlags
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve a page that shows projections and workers, live",
		Long: `Dashboard serves a page that shows how all projections and workers of the database are: lag,
who owns which partition, how long events take, what is parked, and the newest events, live. It
runs no projection; rouse worker --http serves the same page beside its work.

Without a token the page is for this machine and for looking only. With one, in the variable
` + tokenVariable + ` or --http-token-file, it asks for it and then also pauses, resumes, retries
and discards; the database role needs the rights of a worker for that.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			signal.KeepAfterClosedPipe()
			return serveDashboard(ctx, e, f)
		}),
	}
	f.register(cmd.Flags(), dashboardAddress, "the page")
	return cmd
}

func serveDashboard(ctx context.Context, e *env, f httpFlags) error {
	server, err := listenHTTP(ctx, e, f)
	if err != nil {
		return err
	}
	if server == nil {
		return usagef(`--http "" names no address (leave it out for %s)`, dashboardAddress)
	}
	defer func() { _ = server.listener.Close() }() // if it does not come to serving
	return e.db.WithSchema(ctx, "dashboard", func(pool *pgxpool.Pool) error {
		d := dashboard.New(dashboard.Config{Pool: pool, Token: server.token, Log: e.log})
		defer server.serve(e.speakingPage(d), d.Close)()
		if err := e.say("the dashboard is at http://%s/ (Ctrl+C ends it)", server.listener.Addr()); err != nil {
			return err
		}
		<-ctx.Done()
		return signal.IgnoreEnd(ctx, context.Cause(ctx))
	})
}
