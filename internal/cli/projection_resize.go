package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/projection"
)

func projectionResizeVerb(e *env) *cobra.Command {
	var partitions int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "resize NAME --partitions N",
		Short: "Change the number of partitions of a projection while its workers run",
		Long: `Resize splits or joins the partitions of a projection. N is a power of two from 1 to 1024,
any number of steps away. Checkpoints are carried over: no event is handled twice, none is
left out, and workers go on by themselves with what is theirs then.

Partitions can be joined only at one common checkpoint. Their owners bring it about, and
handle nothing beyond it meanwhile. If that takes longer than --timeout, everything stays
as it was and the message names the partitions that were waited for. Where no worker runs,
partitions can be split, and joined if their checkpoints happen to be equal.

A worker that is told a number of partitions (--partitions, ROUSE_PARTITIONS, or in a
program Config.Partitions) stops when the database has another one: leave it at 0.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s is not above 0", timeout)
			}
			e.parsed = true
			return resizeProjection(cmd.Context(), e, args[0], partitions, timeout)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&partitions, "partitions", 0, "how many partitions there are to be, a power of two from 1 to 1024")
	flags.DurationVar(&timeout, "timeout", projection.ResizeTimeout, "how long to wait for a common checkpoint")
	_ = cmd.MarkFlagRequired("partitions")
	return cmd
}

// resized is what `rouse projection resize` reports.
type resized struct {
	Projection string `json:"projection"`
	From       int    `json:"from"`
	To         int    `json:"to"`
}

func resizeProjection(ctx context.Context, e *env, name string, partitions int, timeout time.Duration) error {
	pool, err := e.db.Pool(ctx, "projection", 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	from, err := projection.Resize(limited, pool, name, partitions)
	switch {
	case errors.Is(err, projection.ErrNoProjection):
		return usageError{fmt.Errorf("%w (rouse projection list shows those that there are)", err)}
	case err != nil:
		return err
	case e.json:
		return e.printJSON(resized{name, from, partitions})
	case from == partitions:
		return e.say("%s has %d partitions already, nothing to do", name, partitions)
	}
	return e.say("%s had %d partitions and has %d now (workers that set --partitions, ROUSE_PARTITIONS or Config.Partitions must say %d or leave it at 0)",
		name, from, partitions, partitions)
}
