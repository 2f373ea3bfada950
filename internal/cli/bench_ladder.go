package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchLadderVerb(e *env) *cobra.Command {
	var o bench.LadderOptions
	var seconds int
	cmd := &cobra.Command{
		Use:   "ladder",
		Short: "How latency follows the rate of appends, step by step up and down",
		Long: `Ladder lets writers append on schedule at one rate after the other, up and back down, without a pause
in between, and measures from the acknowledged commit of each event to the acknowledged commit of its
effect. What is to read is the largest ratio of the p50 of two neighbouring steps. The floor is a loop
written by hand, NOTIFY + SELECT + COMMIT, without any of the promises; it has the same steps, in turn.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			for _, rate := range o.Rates {
				if !(rate > 0) || math.IsInf(rate, 0) {
					return usagef("--rate %g: events per second, more than 0", rate)
				}
			}
			switch {
			case len(o.Rates) < 2 || !slices.IsSorted(o.Rates):
				return usagef("--rate %v: two at least, rising, such as 100,300,1000", o.Rates)
			case seconds < 1 || seconds > 3600:
				return usagef("--seconds %d: from 1 to 3600", seconds)
			case o.Writers < 1 || o.Writers > benchWriters:
				return usagef("--writers %d: from 1 to %d", o.Writers, benchWriters)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			o.Length = time.Duration(seconds) * time.Second
			return benchmark(ctx, e, func(b *bench.Bench) (bench.LadderResult, error) { return b.Ladder(ctx, o) }, printLadder, "steps")
		}),
	}
	cmd.Flags().Float64SliceVar(&o.Rates, "rate", []float64{100, 200, 300, 450, 600, 1000, 1500, 2000, 3000}, "events per second of each step on the way up, rising")
	cmd.Flags().IntVar(&seconds, "seconds", 3, "length of one step")
	cmd.Flags().IntVar(&o.Writers, "writers", 8, "how many append at once")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 2, "how often each side has all steps")
	return cmd
}

func printLadder(e *env, r bench.LadderResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("commit to handled and committed, steps of %g s from %d writers, median of %d rounds (ms)", r.Seconds, r.Writers, r.Rounds),
		fmt.Sprintf("%10s %10s %8s %8s %12s %8s", "events/s", "rouse p50", "p90", "p99", "floor p50", "p99"),
	}
	for _, s := range r.Steps {
		lines = append(lines, fmt.Sprintf("%10g %10.2f %8.2f %8.2f %12.2f %8.2f", s.Rate, s.Rouse.P50, s.Rouse.P90, s.Rouse.P99, s.Floor.P50, s.Floor.P99))
	}
	return sayLines(e, append(lines, fmt.Sprintf("the p50 of neighbours differs by %.2f times at most (%g and %g/s), of the floor by %.2f times",
		r.Worst, r.Between[0], r.Between[1], r.FloorWorst))...)
}
