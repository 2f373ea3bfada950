package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

func benchCatchupVerb(e *env) *cobra.Command {
	var o bench.CatchupOptions
	cmd := &cobra.Command{
		Use:   "catchup",
		Short: "How fast a history is worked through",
		Long: `Catchup makes a history of events and lets one worker work through it from the beginning: with a
projection that writes nothing but its checkpoints, beside a loop that reads all events and decodes
none; with one that updates a row for each event, beside a loop written by hand that does the same,
pipelined, without any of the promises; the same with a statement for each event; and with one that
has only Apply, beside a loop that calls the same by hand. The loops take 1,000 events at a time, and
no commit waits for the disk. Last comes the process: this program as a worker, from its start to its
end.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case o.Events < 1 || o.Events > 100_000_000:
				return usagef("--events %d: from 1 to 100000000", o.Events)
			case o.Rounds < 1:
				return usagef("--rounds %d: at least one", o.Rounds)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.CatchupResult, error) { return b.Catchup(ctx, o) }, printCatchup, "events")
		}),
	}
	cmd.Flags().Int64Var(&o.Events, "events", 200_000, "how many events the history has")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "how often each side works through it")
	return cmd
}

func printCatchup(e *env, r bench.CatchupResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	row := func(name, floor string, p bench.CatchupPair) string {
		return fmt.Sprintf("%-26s %12s   %-32s %12s %8.2f", name, console.Grouped(int64(p.Rouse)), floor, console.Grouped(int64(p.Floor)), p.Ratio)
	}
	return sayLines(e,
		fmt.Sprintf("a history of %s events, events/s, median of %d rounds", console.Grouped(r.Events), len(r.Nothing.Rounds)),
		fmt.Sprintf("%-26s %12s   %-32s %12s %8s", "projection", "rouse", "floor", "", "ratio"),
		row("nothing but checkpoints", "reading, nothing decoded", r.Nothing),
		row("an upsert for each event", "the same by hand, pipelined", r.Upsert),
		row("a statement for each event", "the same by hand, pipelined", r.Batched),
		row("Apply that does nothing", "the same by hand", r.Apply),
	)
}
