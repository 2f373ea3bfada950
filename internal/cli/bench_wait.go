package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchWaitVerb(e *env) *cobra.Command {
	var o bench.WaitOptions
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "How long WaitFor takes, beside how long the handling does",
		Long: `Wait runs a worker process, and in this one so many callers that each append an event, all at once, and
wait with rouse.WaitFor until it is handled. It measures from the acknowledged commit of each append to
the acknowledged commit of its effect in the worker, and to the return of the wait; the ratio is that of
the two.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case len(o.Waiters) == 0 || slices.Min(o.Waiters) < 1 || slices.Max(o.Waiters) > benchWriters:
				return usagef("--waiters %v: numbers from 1 to %d, such as 1,10,100", o.Waiters, benchWriters)
			case o.Rounds < 1 || o.Rounds > 100_000:
				return usagef("--rounds %d: from 1 to 100000", o.Rounds)
			case o.Interval < time.Millisecond || o.Interval > time.Minute:
				return usagef("--interval %s: from 1ms to 1m", o.Interval)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.WaitResult, error) { return b.Wait(ctx, o) }, printWait, "rows")
		}),
	}
	cmd.Flags().IntSliceVar(&o.Waiters, "waiters", []int{1, 10, 100}, "numbers of callers that wait at once")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 200, "how often each of them does")
	cmd.Flags().DurationVar(&o.Interval, "interval", 50*time.Millisecond, "time between two rounds")
	return cmd
}

func printWait(e *env, r bench.WaitResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("from the commit of an append, %d rounds every %g ms (ms)", r.Rounds, r.Interval),
		fmt.Sprintf("%8s %16s %12s %12s %12s %12s %8s %12s", "waiters", "nobody waits p50", "handled p50", "p99", "waited p50", "p99", "ratio", "statements"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%8d %16.2f %12.2f %12.2f %12.2f %12.2f %8.2f %12.1f", row.Waiters, row.Alone.P50, row.Handled.P50, row.Handled.P99,
			row.Waited.P50, row.Waited.P99, row.Ratio.P50, row.Statements))
	}
	return sayLines(e, lines...)
}
