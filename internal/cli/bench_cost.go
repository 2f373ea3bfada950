package cli

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchCostVerb(e *env) *cobra.Command {
	var o bench.CostOptions
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "What one event takes at rest: statements, context switches, allocations",
		Long: `Cost appends events one by one, each when the last is handled, and counts what each takes, the append
itself included: the statements on the wire, the voluntary context switches of this process and of
the server, and the allocations of this process. What the same time takes without events is
subtracted. It counts a worker, and the loop written by hand, NOTIFY + SELECT + COMMIT, on two
connections and on one.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case o.Events < 1 || o.Events > 100_000:
				return usagef("--events %d: from 1 to 100000", o.Events)
			case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
				return usagef("--rate %g: events per second, more than 0", o.Rate)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.CostResult, error) { return b.Cost(ctx, o) }, printCost, "rounds")
		}),
	}
	cmd.Flags().IntVar(&o.Events, "events", 100, "how many events each side has in a round")
	cmd.Flags().Float64Var(&o.Rate, "rate", 20, "events per second")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "rounds of each side")
	return cmd
}

func printCost(e *env, r bench.CostResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("of an event, %d at %g/s, median of %d rounds", r.Events, r.Rate, len(r.Rouse.Rounds)),
		fmt.Sprintf("%-24s %10s %12s %11s %9s %15s %12s %16s", "", "statements", "begin/commit", "round trips", "switches", "of the server", "allocations", "10 s of rest"),
	}
	for _, side := range []struct {
		name string
		c    bench.CostSide
	}{{"by hand, 2 connections", r.Floor}, {"by hand, 1 connection", r.One}, {"rouse", r.Rouse}} {
		c := side.c
		lines = append(lines, fmt.Sprintf("%-24s %10.2f %12.2f %11.2f %9.1f %15.1f %12.0f %16.1f", side.name, c.Statements, c.Ends, c.Trips, c.Switches,
			c.ServerSwitches, c.Allocations, c.Rest))
	}
	lines = append(lines, "rouse's statements, of the events and of the rest meanwhile:")
	for _, line := range slices.Sorted(maps.Keys(r.Rouse.Lines)) {
		lines = append(lines, fmt.Sprintf("%8.2f  %s", r.Rouse.Lines[line], line))
	}
	return sayLines(e, lines...)
}
