package cli

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchProjectionsVerb(e *env) *cobra.Command {
	var o bench.ManyOptions
	cmd := &cobra.Command{
		Use:   "projections",
		Short: "What many projections in one process take, and how late the last one is",
		Long: `Projections runs a worker process with each number of projections, all of which handle every event,
and appends events on schedule. It measures from the acknowledged commit of an append to the commit of
the last projection that handles it, and the connections, the memory and the start of the process. The
pool may have two connections for each projection and one more. The ratios are to the first number.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case len(o.Projections) == 0 || slices.Min(o.Projections) < 1 || slices.Max(o.Projections) > benchProjections:
				return usagef("--projections %v: numbers from 1 to %d, such as 1,50,200", o.Projections, benchProjections)
			case o.Events < 1 || o.Events > 100_000:
				return usagef("--events %d: from 1 to 100000", o.Events)
			case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
				return usagef("--rate %g: events per second, more than 0", o.Rate)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.ManyResult, error) { return b.Many(ctx, o) }, printProjections, "rounds")
		}),
	}
	cmd.Flags().IntSliceVar(&o.Projections, "projections", []int{1, 50, 200}, "numbers of projections; the others are compared with the first")
	cmd.Flags().IntVar(&o.Events, "events", 200, "how many events each process has in a round")
	cmd.Flags().Float64Var(&o.Rate, "rate", 20, "events per second")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 2, "rounds of each number")
	return cmd
}

func printProjections(e *env, r bench.ManyResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("commit to the last projection's commit, %d events at %g/s, median of %d rounds (ms)", r.Events, r.Rate, len(r.Rows[0].Rounds)),
		fmt.Sprintf("%12s %8s %8s %8s %10s %12s %12s %10s", "projections", "p50", "p99", "ratio", "", "connections", "memory, MiB", "start, s"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%12d %8.2f %8.2f %8.2f %10s %12d %12.0f %10.2f", row.Projections, row.Last.P50, row.Last.P99, row.Ratio, "", row.Connections, row.PeakMiB, row.Start))
	}
	return sayLines(e, lines...)
}
