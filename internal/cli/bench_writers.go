package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

func benchWritersVerb(e *env) *cobra.Command {
	var o bench.WritersOptions
	var seconds int
	cmd := &cobra.Command{
		Use:   "writers",
		Short: "How fast writers append at full speed, against a plain table",
		Long: `Writers measures how fast writers append, each event in a transaction of its own, to Rouse's log and
to a plain table with the same columns and unique keys: with nobody else, beside a naive worker that
polls and has none of the promises, and, to the log, beside a worker that handles everything. The
writers are pgbench where it is found, else goroutines of this process.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case len(o.Writers) == 0 || slices.Min(o.Writers) < 1 || slices.Max(o.Writers) > benchWriters:
				return usagef("--writers %v: numbers from 1 to %d, such as 1,4,16", o.Writers, benchWriters)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			case seconds < 1 || seconds > 3600:
				return usagef("--seconds %d: from 1 to 3600", seconds)
			case o.Poll < time.Millisecond || o.Poll > time.Minute:
				return usagef("--poll %s: from 1ms to 1m", o.Poll)
			}
			o.Length, o.Pgbench = time.Duration(seconds)*time.Second, bench.FindPgbench()
			return benchmark(ctx, e, func(b *bench.Bench) (bench.WritersResult, error) { return b.Writers(ctx, o) }, printWriters, "rounds")
		}),
	}
	cmd.Flags().IntSliceVar(&o.Writers, "writers", []int{1, 4, 16, 64}, "numbers of writers")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "rounds of each variant")
	cmd.Flags().IntVar(&seconds, "seconds", 3, "length of one round")
	cmd.Flags().DurationVar(&o.Poll, "poll", 3*time.Millisecond, "how long the naive worker rests between two reads")
	return cmd
}

func printWriters(e *env, r bench.WritersResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("appends/s, median of %d rounds of %g s; the naive worker polls every %g ms", len(r.Rows[0].Rounds), r.Length, r.PollMS),
		fmt.Sprintf("%8s %10s %10s %8s %14s %12s %8s %14s %8s", "writers", "plain", "log", "ratio", "plain, polled", "log, worker", "ratio", "log, polled", "ratio"),
	}
	per := func(v float64) string { return console.Grouped(int64(v)) }
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%8d %10s %10s %8.2f %14s %12s %8.2f %14s %8.2f", row.Writers, per(row.Plain), per(row.Log), row.Alone,
			per(row.PlainPolled), per(row.Rouse), row.Beside, per(row.LogPolled), row.Worker))
	}
	return sayLines(e, append(lines, fmt.Sprintf("written by %s; %s events appended beside the worker and handled", r.Writer, per(float64(r.Events))))...)
}
