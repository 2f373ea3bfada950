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

func benchPayloadsVerb(e *env) *cobra.Command {
	var o bench.PayloadsOptions
	var history int64
	cmd := &cobra.Command{
		Use:   "payloads",
		Short: "What the size of events costs: memory, and speed against the raw read",
		Long: `Payloads makes a history of events with payloads of each size, and lets a worker process work through
it with a projection that writes nothing but its checkpoints, beside a loop that reads all events, 1,000
at a time, and decodes none. It measures the rates and the memory of the process. Payloads cannot be
compressed.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case len(o.Sizes) == 0 || slices.Min(o.Sizes) < 10 || slices.Max(o.Sizes) > 64<<20:
				return usagef("--bytes %v: from 10 to %d, such as 1048576,10240,100", o.Sizes, 64<<20)
			case history < 1 || history > 64<<10:
				return usagef("--history %d: from 1 to %d MiB", history, 64<<10)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			o.History = history << 20
			return benchmark(ctx, e, func(b *bench.Bench) (bench.PayloadsResult, error) { return b.Payloads(ctx, o) }, printPayloads, "events")
		}),
	}
	cmd.Flags().Int64SliceVar(&o.Sizes, "bytes", []int64{1 << 20, 10 << 10, 100}, "sizes of payloads")
	cmd.Flags().Int64Var(&history, "history", 600, "MiB of payloads that a history has, of 1,000,000 events at most")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "rounds of each size")
	return cmd
}

func printPayloads(e *env, r bench.PayloadsResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("events/s, nothing but checkpoints, median of %d rounds", len(r.Rows[0].Rounds)),
		fmt.Sprintf("%12s %10s %12s %26s %8s %14s", "bytes", "events", "rouse", "reading, nothing decoded", "ratio", "memory, MiB"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%12s %10s %12s %26s %8.2f %14.0f", console.Grouped(row.Bytes), console.Grouped(row.Events), console.Grouped(int64(row.Rouse)),
			console.Grouped(int64(row.Floor)), row.Ratio, row.PeakMiB))
	}
	return sayLines(e, lines...)
}
