package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/projection"
)

func projectionVerb(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "projection",
		Short: "List projections, begin and end them, and change how they are kept",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(projectionListVerb(e), projectionPauseVerb(e), projectionResumeVerb(e), projectionResetVerb(e),
		projectionSkipVerb(e), projectionResizeVerb(e), projectionCreateVerb(e), projectionDropVerb(e), projectionRenameVerb(e),
		projectionRebuildVerb(e), projectionPromoteVerb(e))
	return cmd
}

// steered is a verb that changes what becomes of one projection.
func steered(e *env, use, short, long string, do func(ctx context.Context, pool *pgxpool.Pool, name string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			return steer(cmd.Context(), e, args[0], do)
		},
	}
}

func steer(ctx context.Context, e *env, name string, do func(ctx context.Context, pool *pgxpool.Pool, name string) error) error {
	err := e.db.WithSchema(ctx, "projection", func(pool *pgxpool.Pool) error { return do(ctx, pool, name) })
	switch {
	case errors.Is(err, projection.ErrNoProjection):
		return usageError{fmt.Errorf("%w (rouse projection list shows those that there are)", err)}
	case errors.Is(err, projection.ErrPosition), errors.Is(err, projection.ErrName), errors.Is(err, projection.ErrExists),
		errors.Is(err, projection.ErrNoBuild):
		return usageError{err}
	}
	return err
}
