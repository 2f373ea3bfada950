package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/partition"
)

// steered is a verb that changes what becomes of one projection.
func (a *app) steered(use, short, long string, do func(ctx context.Context, pool *pgxpool.Pool, name string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.parsed = true
			return a.steer(cmd.Context(), args[0], do)
		},
	}
}

func (a *app) steer(ctx context.Context, name string, do func(ctx context.Context, pool *pgxpool.Pool, name string) error) error {
	err := a.withSchema(ctx, "rouse projection", func(pool *pgxpool.Pool) error { return do(ctx, pool, name) })
	switch {
	case errors.Is(err, partition.ErrNoProjection):
		return usageError{fmt.Errorf("%w (rouse projection list shows those that there are)", err)}
	case errors.Is(err, partition.ErrPosition):
		return usageError{err}
	}
	return err
}

func (a *app) projectionPauseCommand() *cobra.Command {
	return a.steered("pause", "Keep all workers from handling more of a projection",
		`Pause takes effect at once, in every worker and without a restart: what is in hand is rolled
back and handled after rouse projection resume. Workers go on running, also new ones.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := partition.Pause(ctx, pool, name); err != nil {
				return err
			}
			return a.say("%s is paused (rouse projection resume %s lets it go on)", name, name)
		})
}

func (a *app) projectionResumeCommand() *cobra.Command {
	return a.steered("resume", "Let a paused projection go on",
		`Resume lets a projection go on that was paused. Workers notice within a second. One that was
stopped by an event goes on when its worker is started again.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := partition.Resume(ctx, pool, name); err != nil {
				return err
			}
			return a.say("%s goes on", name)
		})
}

func (a *app) projectionSkipCommand() *cobra.Command {
	var position int64
	cmd := a.steered("skip", "Pass over one event for good",
		`Skip has a projection pass over one event that it has not come past: the one that stops it, or
one that it should not meet. Later events of the same aggregate are handled. An event that is
parked already is given up with rouse parked discard.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			if err := partition.Skip(ctx, pool, name, position); err != nil {
				return err
			}
			return a.say("%s will pass over the event at position %s", name, grouped(position))
		})
	cmd.Flags().Int64Var(&position, "position", 0, "global position of the event")
	_ = cmd.MarkFlagRequired("position")
	return cmd
}

func (a *app) projectionResetCommand() *cobra.Command {
	var to string
	var force bool
	var wait time.Duration
	cmd := a.steered("reset", "Have a projection start over",
		`Reset has a projection start over behind a position: 0 for the beginning of the log, end for
its last event. The next worker that runs the projection does it, in one transaction with
emptying the read model, and forgets what was parked. A projection that cannot empty its read
model (rouse.Resetter), and every effect, needs --force: then events are applied again to what
is there.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			position, err := parsePosition(to)
			if err != nil {
				return err
			}
			at, err := partition.RequestReset(ctx, pool, name, position, force)
			if err != nil {
				return err
			}
			return a.awaitReset(ctx, pool, name, at, wait)
		})
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "0, a position, or end")
	flags.BoolVar(&force, "force", false, "also where the read model cannot be emptied")
	flags.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for a worker to do it")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// parsePosition reads --to: a position, or -1 for the end.
func parsePosition(to string) (int64, error) {
	if to == "end" {
		return -1, nil
	}
	position, err := strconv.ParseInt(to, 10, 64)
	if err != nil || position < 0 {
		return 0, usagef("--to %q is neither a position nor end", to)
	}
	return position, nil
}

// awaitReset waits until a worker has dealt with the request.
func (a *app) awaitReset(ctx context.Context, pool *pgxpool.Pool, name string, at int64, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		open, refused, err := partition.ResetPending(ctx, pool, name)
		switch {
		case err != nil:
			return err
		case !open && refused != "":
			return fmt.Errorf("%s is not started over: %s", name, refused)
		case !open:
			return a.say("%s has started over behind position %s", name, grouped(at))
		case time.Now().After(deadline):
			return a.say("%s will start over behind position %s as soon as a worker runs it", name, grouped(at))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
