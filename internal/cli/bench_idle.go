package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchIdleVerb(e *env) *cobra.Command {
	var o bench.IdleOptions
	var seconds int
	cmd := &cobra.Command{
		Use:   "idle",
		Short: "What workers ask of the server while nothing happens",
		Long: `Idle lets workers sleep and counts the statements that their connections send: those of the event
path, the watch over the other workers, ownership, the heartbeat, and the probe of the push. It
begins to count after half as long again. Then it counts
the notifications that appends send with nobody asleep, and with one worker asleep.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case o.Workers < 1 || o.Workers > benchIdleWorkers:
				return usagef("--workers %d: from 1 to %d", o.Workers, benchIdleWorkers)
			case seconds < 1 || seconds > 3600:
				return usagef("--seconds %d: from 1 to 3600", seconds)
			case o.Appends < 1 || o.Appends > 1000:
				return usagef("--appends %d: from 1 to 1000", o.Appends)
			}
			o.Length = time.Duration(seconds) * time.Second
			return benchmark(ctx, e, func(b *bench.Bench) (bench.IdleResult, error) { return b.Idle(ctx, o) }, printIdle, "seconds")
		}),
	}
	cmd.Flags().IntVar(&o.Workers, "workers", 4, "how many workers sleep")
	cmd.Flags().BoolVar(&o.Static, "static", false, "their shares are fixed by number, as with --total-workers")
	cmd.Flags().IntVar(&seconds, "seconds", 60, "for how long")
	cmd.Flags().IntVar(&o.Appends, "appends", 20, "how many events are appended afterwards")
	return cmd
}

func printIdle(e *env, r bench.IdleResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	kind := "elastic"
	if r.Static {
		kind = "static"
	}
	row := func(name string, v float64) string { return fmt.Sprintf("%-32s %8.2f", name, v) }
	return sayLines(e,
		fmt.Sprintf("statements in 10 s and worker, %d %s workers with nothing to do for %g s", r.Workers, kind, r.Seconds),
		row("event path", r.EventPath), row("event path, round trips", r.EventTrips), row("ownership", r.Ownership), row("watch over other workers", r.Watch), row("heartbeat", r.Heartbeat), row("probe of the push", r.Probe),
		row("transactions, by the server", r.Transactions),
		fmt.Sprintf("statements a second of all workers together, as they were on the wire: %.1f, on %d connections", r.Sent, r.Connections),
		fmt.Sprintf("notifications for %d appends: %d with nobody asleep, %d with one worker asleep", r.Appends, r.Unslept, r.Slept),
	)
}
