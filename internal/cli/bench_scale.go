package cli

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

func benchScaleVerb(e *env) *cobra.Command {
	var o bench.ScaleOptions
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "How fast a history is worked through by several processes, and what all of it costs",
		Long: `Scale makes a history of events and lets 1, 2 and 4 processes work through it from the beginning,
each its fixed share, with the built-in projection. It measures the time from the start of the
first to the end of the last, and on a server of its own the processor time of all of them and of
the server.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case o.Events < 1 || o.Events > 100_000_000:
				return usagef("--events %d: from 1 to 100000000", o.Events)
			case len(o.Workers) == 0 || slices.Min(o.Workers) < 1 || slices.Max(o.Workers) > benchWorkers:
				return usagef("--workers %v: numbers from 1 to %d, such as 1,2,4", o.Workers, benchWorkers)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.ScaleResult, error) { return b.Scale(ctx, o) }, printScale, "rounds")
		}),
	}
	cmd.Flags().Int64Var(&o.Events, "events", 200_000, "how many events the history has")
	cmd.Flags().IntSliceVar(&o.Workers, "workers", []int{1, 2, 4}, "numbers of workers; the others are compared with the first")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "how often each number works through it")
	return cmd
}

func printScale(e *env, r bench.ScaleResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("a history of %s events, median of %d rounds, processes from start to end", console.Grouped(r.Events), len(r.Rows[0].Rounds)),
		fmt.Sprintf("%8s %12s %8s %16s %8s", "workers", "events/s", "ratio", "CPU of all, s", "ratio"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%8d %12s %8.2f %16.2f %8.2f", row.Workers, console.Grouped(int64(row.PerSecond)), row.Speedup, row.CPU, row.CPURatio))
	}
	return sayLines(e, lines...)
}
