package cli

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/projection"
)

// steeredTo is what `rouse projection pause --json` and resume print.
type steeredTo struct {
	Projection string `json:"projection"`
	Paused     bool   `json:"paused"`
}

// skipped is what `rouse projection skip --json` prints.
type skipped struct {
	Projection string `json:"projection"`
	Position   int64  `json:"position"`
}

func projectionPauseVerb(e *env) *cobra.Command {
	return steered(e, "pause", "Keep all workers from handling more of a projection",
		`Pause takes effect at once, in every worker and without a restart: what is in hand is rolled
back and handled after rouse projection resume. Workers go on running, also new ones.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := projection.Pause(ctx, pool, name); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(steeredTo{Projection: name, Paused: true})
			}
			return e.say("%s is paused (rouse projection resume %s lets it go on)", name, name)
		})
}

func projectionResumeVerb(e *env) *cobra.Command {
	return steered(e, "resume", "Let a paused projection go on",
		`Resume lets a projection go on that was paused. Workers notice within a second. One that was
stopped by an event goes on when its worker is started again.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := projection.Resume(ctx, pool, name); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(steeredTo{Projection: name})
			}
			return e.say("%s goes on", name)
		})
}

func projectionSkipVerb(e *env) *cobra.Command {
	var position int64
	cmd := steered(e, "skip", "Pass over one event for good",
		`Skip has a projection pass over one event that it has not come past: the one that stops it, or
one that it should not meet. Later events of the same aggregate are handled. An event that is
parked already is given up with rouse parked discard.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := projection.Skip(ctx, pool, name, position); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(skipped{name, position})
			}
			return e.say("%s will pass over the event at position %s", name, console.Grouped(position))
		})
	cmd.Flags().Int64Var(&position, "position", 0, "global position of the event")
	_ = cmd.MarkFlagRequired("position")
	return cmd
}
