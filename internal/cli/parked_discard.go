package cli

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/parked"
)

func parkedDiscardVerb(e *env) *cobra.Command {
	var f parkedFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard",
		Short: "Forget parked events, and go on with those behind them",
		Long: `Discard takes parked events out of the queue for good: the projection will never handle them.
What waited behind them is handled, as if retry had asked for it. Whole projections are only
discarded with --yes.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return discardParked(ctx, e, f, yes) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "those of all projections")
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, all of them")
	return cmd
}

// discarded is what `rouse parked discard` reports.
type discarded struct {
	Discarded int64 `json:"discarded"`
}

func discardParked(ctx context.Context, e *env, f parkedFlags, yes bool) error {
	filter, err := f.chosen()
	if err != nil {
		return err
	}
	if f.many() && !yes {
		return usagef("this discards every parked event of %s that is meant: say --yes, or name an --aggregate or a --position", whose(f))
	}
	return e.db.WithSchema(ctx, "parked discard", func(pool *pgxpool.Pool) error {
		events, err := parked.List(ctx, pool, filter, 0)
		if err != nil {
			return err
		}
		var result discarded
		for _, projection := range projectionsOf(events) {
			filter.Projection = projection
			n, err := parked.Discard(ctx, pool, filter)
			if err != nil {
				return err
			}
			result.Discarded += n
		}
		switch {
		case e.json:
			return e.printJSON(result)
		case result.Discarded == 0:
			return e.say("no such event is parked")
		}
		return e.say("%s discarded", console.Counted(result.Discarded, "event"))
	})
}

func whose(f parkedFlags) string {
	if f.projection == "" {
		return "all projections"
	}
	return f.projection
}
