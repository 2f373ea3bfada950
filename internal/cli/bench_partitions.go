package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

func benchPartitionsVerb(e *env) *cobra.Command {
	var o bench.PartitionsOptions
	cmd := &cobra.Command{
		Use:   "partitions",
		Short: "What the number of partitions costs, behind and at rest",
		Long: `Partitions makes a history of events and lets one worker work through it with each number of
partitions, with a projection that writes nothing but its checkpoints and with one that updates a row
for each event, and then times events one by one, in a projection that begins at the end of the log.
The ratios are to the first number; above 1 is better.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			for _, n := range o.Partitions {
				if n < 1 || n > 1024 || n&(n-1) != 0 {
					return usagef("--partitions %v: powers of two up to 1024, such as 32,1024", o.Partitions)
				}
			}
			switch {
			case len(o.Partitions) < 2:
				return usagef("--partitions %v: two numbers at least, such as 32,1024", o.Partitions)
			case o.Events < 1 || o.Events > 100_000_000:
				return usagef("--events %d: from 1 to 100000000", o.Events)
			case o.Timed < 1 || o.Timed > 100_000:
				return usagef("--timed %d: from 1 to 100000", o.Timed)
			case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
				return usagef("--rate %g: events per second, more than 0", o.Rate)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.PartitionsResult, error) { return b.Partitions(ctx, o) }, printPartitions, "rounds")
		}),
	}
	cmd.Flags().IntSliceVar(&o.Partitions, "partitions", []int{32, 1024}, "numbers of partitions; the others are compared with the first")
	cmd.Flags().Int64Var(&o.Events, "events", 200_000, "how many events the history has")
	cmd.Flags().IntVar(&o.Timed, "timed", 300, "how many events are timed at rest, of each number and round")
	cmd.Flags().Float64Var(&o.Rate, "rate", 100, "of these, events per second")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "rounds of each number")
	return cmd
}

func printPartitions(e *env, r bench.PartitionsResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("a history of %s events, events/s, and %d events at rest at %g/s, ms, median of %d rounds", console.Grouped(r.Events), r.Timed, r.Rate, len(r.Rows[0].Rounds)),
		fmt.Sprintf("%10s %12s %8s %12s %8s %10s %8s %8s", "partitions", "nothing", "ratio", "upserts", "ratio", "rest p50", "p99", "ratio"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%10d %12s %8.2f %12s %8.2f %10.2f %8.2f %8.2f", row.Partitions, console.Grouped(int64(row.Nothing)), row.NothingRatio,
			console.Grouped(int64(row.Upsert)), row.UpsertRatio, row.Quiet.P50, row.Quiet.P99, row.QuietRatio))
	}
	return sayLines(e, lines...)
}
