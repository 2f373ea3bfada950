package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

// benchWorkers is the most workers that a benchmark runs.
const benchWorkers = 32

func (a *app) benchScaleCommand() *cobra.Command {
	var o bench.ScaleOptions
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "How fast a history is worked through by several processes, and what all of it costs",
		Long: `Scale makes a history of events and lets 1, 2 and 4 processes work through it from the beginning,
each its fixed share, with the built-in projection. It measures the time from the start of the
first to the end of the last, and on a server of its own the processor time of all of them and of
the server.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
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
			return benchmark(ctx, a, func(b *bench.Bench) (bench.ScaleResult, error) { return b.Scale(ctx, o) }, a.printScale, "rounds")
		}),
	}
	cmd.Flags().Int64Var(&o.Events, "events", 200_000, "how many events the history has")
	cmd.Flags().IntSliceVar(&o.Workers, "workers", []int{1, 2, 4}, "numbers of workers; the others are compared with the first")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "how often each number works through it")
	return cmd
}

func (a *app) printScale(r bench.ScaleResult) error {
	if err := a.benchServerLine(r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("a history of %s events, median of %d rounds, processes from start to end", grouped(r.Events), len(r.Rows[0].Rounds)),
		fmt.Sprintf("%8s %12s %8s %16s %8s", "workers", "events/s", "ratio", "CPU of all, s", "ratio"),
	}
	for _, row := range r.Rows {
		lines = append(lines, fmt.Sprintf("%8d %12s %8.2f %16.2f %8.2f", row.Workers, grouped(int64(row.PerSecond)), row.Speedup, row.CPU, row.CPURatio))
	}
	return a.lines(lines...)
}

func (a *app) benchIdleCommand() *cobra.Command {
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
		RunE: a.verb(func(ctx context.Context) error {
			switch {
			case o.Workers < 1 || o.Workers > benchWorkers:
				return usagef("--workers %d: from 1 to %d", o.Workers, benchWorkers)
			case seconds < 1 || seconds > 3600:
				return usagef("--seconds %d: from 1 to 3600", seconds)
			case o.Appends < 1 || o.Appends > 1000:
				return usagef("--appends %d: from 1 to 1000", o.Appends)
			}
			o.Length = time.Duration(seconds) * time.Second
			return benchmark(ctx, a, func(b *bench.Bench) (bench.IdleResult, error) { return b.Idle(ctx, o) }, a.printIdle, "seconds")
		}),
	}
	cmd.Flags().IntVar(&o.Workers, "workers", 4, "how many workers sleep")
	cmd.Flags().IntVar(&seconds, "seconds", 60, "for how long")
	cmd.Flags().IntVar(&o.Appends, "appends", 20, "how many events are appended afterwards")
	return cmd
}

func (a *app) printIdle(r bench.IdleResult) error {
	if err := a.benchServerLine(r.Server); err != nil {
		return err
	}
	row := func(name string, v float64) string { return fmt.Sprintf("%-32s %8.2f", name, v) }
	return a.lines(
		fmt.Sprintf("statements in 10 s and worker, %d workers with nothing to do for %g s", r.Workers, r.Seconds),
		row("event path", r.EventPath), row("event path, round trips", r.EventTrips), row("ownership", r.Ownership), row("watch over other workers", r.Watch), row("heartbeat", r.Heartbeat), row("probe of the push", r.Probe),
		row("transactions, by the server", r.Transactions),
		fmt.Sprintf("notifications for %d appends: %d with nobody asleep, %d with one worker asleep", r.Appends, r.Unslept, r.Slept),
	)
}

// benchSleeperCommand is a process that listens and has nothing to do, for `rouse bench append --idle-processes`.
func (a *app) benchSleeperCommand() *cobra.Command {
	eof := false
	cmd := &cobra.Command{
		Use:    bench.SleeperCommand + " INDEX TOTAL",
		Short:  "Listen and have nothing to do",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.parsed = true
			index, err := strconv.Atoi(args[0])
			total, totalErr := strconv.Atoi(args[1])
			if err = errors.Join(err, totalErr); err != nil {
				return usagef("%q are no two numbers", args)
			}
			return untilEOF(cmd.Context(), eof, func(ctx context.Context) error {
				pool, err := a.pool(ctx, "rouse bench sleeper", 2)
				if err != nil {
					return err
				}
				defer pool.Close()
				return bench.Sleep(ctx, pool, index, total, a.log)
			})
		},
	}
	untilEOFFlag(cmd.Flags(), &eof)
	return cmd
}
