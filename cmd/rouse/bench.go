package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/pgserver"
)

const (
	// benchConnections is what the embedded server has room for, benchWriters the most of them that append, and benchIdle the
	// most processes that sleep beside them, of which each needs four.
	benchConnections = 600
	benchWriters     = 256
	benchIdle        = 64
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure latency, catching up, scaling, rest, or what the push costs appends",
		Long: `Bench measures on a PostgreSQL server of its own, or in the database that is given, where it
works in a schema of its own, rouse_bench_ and a number, which is dropped at the end and after
Ctrl+C; only a second Ctrl+C, which ends it at once, leaves it there. It prints a small table, or everything that was measured with --json. The ratios are
what to read: what is compared takes turns, and medians are printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchLatencyCommand(), a.benchCatchupCommand(), a.benchAppendCommand(), a.benchScaleCommand(), a.benchIdleCommand())
	return cmd
}

func (a *app) benchLatencyCommand() *cobra.Command {
	var o bench.LatencyOptions
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "How soon after its commit an event is handled",
		Long: `Latency appends events and measures from the acknowledged commit of each to the acknowledged
commit of its effect. The floor is a loop written by hand, NOTIFY + SELECT + COMMIT, without any
of the promises. The two take turns, event by event; with --writers, by time, and then the floor
loses events, because it passes over what commits out of order.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			if err := checkLatency(o); err != nil {
				return err
			}
			return benchmark(ctx, a, func(b *bench.Bench) (bench.LatencyResult, error) { return b.Latency(ctx, o) }, a.printLatency, "events")
		}),
	}
	cmd.Flags().IntVar(&o.Events, "events", 0, "how many events of each side are timed at each step; 0: as many as 20 seconds have")
	cmd.Flags().Float64SliceVar(&o.Rates, "rate", []float64{60}, "events per second of each side, at most; several: one after the other")
	cmd.Flags().IntVar(&o.Writers, "writers", 1, "how many append at once, on schedule; 1: each event is waited for, and workers sleep in between")
	cmd.Flags().Int64SliceVar(&o.TableRows, "table-rows", nil, "how many events there are before; several, rising: one after the other")
	cmd.Flags().BoolVar(&o.Hold, "hold", false, "measure a second time, while a foreign transaction that has written is open")
	return cmd
}

// checkLatency finds what is wrong with flags.
func checkLatency(o bench.LatencyOptions) error {
	switch {
	case o.Events < 0:
		return usagef("--events %d: at least one event, or 0 for 20 seconds", o.Events)
	case len(o.Rates) == 0:
		return usagef("--rate is empty: events per second, such as 10,100")
	case o.Writers < 1 || o.Writers > benchWriters:
		return usagef("--writers %d: from 1 to %d", o.Writers, benchWriters)
	}
	for _, rate := range o.Rates {
		if !(rate > 0) || math.IsInf(rate, 0) {
			return usagef("--rate %g: events per second, more than 0", rate)
		}
	}
	for i, rows := range o.TableRows {
		if rows < 0 || rows > 100_000_000 || i > 0 && rows < o.TableRows[i-1] {
			return usagef("--table-rows %v: from 0 to 100000000, rising", o.TableRows)
		}
	}
	return nil
}

func (a *app) benchCatchupCommand() *cobra.Command {
	var o bench.CatchupOptions
	cmd := &cobra.Command{
		Use:   "catchup",
		Short: "How fast a history is worked through",
		Long: `Catchup makes a history of events and lets one worker work through it from the beginning: with a
projection that writes nothing but its checkpoints, beside a loop that reads all events and decodes
none; and with one that updates a row for each event, beside a loop written by hand that does the
same, pipelined, without any of the promises. Each batch has 1,000 events, and no commit waits for
the disk. Last comes the process: this program as a worker, from its start to its end.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
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
			return benchmark(ctx, a, func(b *bench.Bench) (bench.CatchupResult, error) { return b.Catchup(ctx, o) }, a.printCatchup, "events")
		}),
	}
	cmd.Flags().Int64Var(&o.Events, "events", 200_000, "how many events the history has")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "how often each side works through it")
	return cmd
}

// appendBenchFlags are the flags of `rouse bench append` that need a look before they are options.
type appendBenchFlags struct {
	writers         []int
	rounds, seconds int
	idle            int
	disk            string
}

func (a *app) benchAppendCommand() *cobra.Command {
	var f appendBenchFlags
	cmd := &cobra.Command{
		Use:   "append",
		Short: "What the push costs those who append",
		Long: `Append measures how fast writers append, each event in a transaction of its own, while one worker
reads and handles everything: with the push trigger switched off, as Rouse has it, and with one
that notifies on every commit. The writers are pgbench where it is found, else goroutines of this
process. Further processes may listen meanwhile. On a server of its own it measures a second time with commit_delay, as on a slow disk.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			own := a.databaseURL == ""
			o, err := f.options(own)
			if err != nil {
				return err
			}
			o.Pgbench = bench.FindPgbench()
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, a, func(b *bench.Bench) (bench.AppendResult, error) { return b.Append(ctx, o) }, a.printAppend, "rounds")
		}),
	}
	cmd.Flags().IntSliceVar(&f.writers, "writers", []int{1, 4, 16, 64}, "numbers of writers")
	cmd.Flags().IntVar(&f.rounds, "rounds", 5, "rounds of each variant")
	cmd.Flags().IntVar(&f.seconds, "seconds", 5, "length of one round")
	cmd.Flags().IntVar(&f.idle, "idle-processes", 0, "how many further processes listen and have nothing to do")
	cmd.Flags().StringVar(&f.disk, "disk", "", "as-is, or slow (commit_delay, only on the embedded server); default: all that is possible")
	return cmd
}

// options checks the flags. own tells that the server will be the benchmark's own.
func (f appendBenchFlags) options(own bool) (o bench.AppendOptions, err error) {
	switch {
	case len(f.writers) == 0 || slices.Min(f.writers) < 1 || slices.Max(f.writers) > benchWriters:
		return o, usagef("--writers %v: numbers from 1 to %d, such as 1,4,16", f.writers, benchWriters)
	case f.rounds < 1:
		return o, usagef("--rounds %d: at least one", f.rounds)
	case f.idle < 0 || f.idle > benchIdle:
		return o, usagef("--idle-processes %d: from 0 to %d", f.idle, benchIdle)
	case f.seconds < 1 || f.seconds > 3600:
		return o, usagef("--seconds %d: from 1 to 3600", f.seconds)
	}
	o = bench.AppendOptions{Idle: f.idle, Writers: f.writers, Rounds: f.rounds, Length: time.Duration(f.seconds) * time.Second}
	switch disk := bench.Disk(f.disk); {
	case disk == "" && own:
		o.Disks = []bench.Disk{bench.DiskAsIs, bench.DiskSlow}
	case disk == "", disk == bench.DiskAsIs:
		o.Disks = []bench.Disk{bench.DiskAsIs}
	case disk == bench.DiskSlow && own:
		o.Disks = []bench.Disk{bench.DiskSlow}
	case disk == bench.DiskSlow:
		return o, usagef("--disk slow changes settings of the whole server (leave out DATABASE_URL and --database-url to have it on a server of its own)")
	default:
		return o, usagef("--disk %q is none of as-is, slow", f.disk)
	}
	return o, nil
}

// benchmark makes a place to measure in, measures, takes the place away and prints.
func benchmark[R any](ctx context.Context, a *app, measure func(b *bench.Bench) (R, error), show func(R) error, unit string) error {
	if a.schema != "" {
		return usagef("bench works in a schema of its own and drops it at the end (leave out --schema and ROUSE_SCHEMA)")
	}
	result, err := inBench(ctx, a, measure, unit)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	return show(result)
}

func inBench[R any](ctx context.Context, a *app, measure func(b *bench.Bench) (R, error), unit string) (result R, err error) {
	own := a.databaseURL == ""
	if own {
		if set := forgetPG(); len(set) > 0 {
			a.log.Warn().Strs("variables", set).Msg("bench starts a server of its own and does not look at these variables (for a database of yours, set DATABASE_URL)")
		}
		// Long histories are written, and no round should pay for a checkpoint that another one has caused.
		settings := map[string]string{"max_connections": fmt.Sprint(benchConnections), "max_wal_size": "8GB"}
		server, startErr := a.startServer(ctx, pgserver.Config{Settings: settings, Log: a.log})
		if startErr != nil {
			return result, startErr
		}
		defer func() { err = errors.Join(err, stopServer(context.WithoutCancel(ctx), server)) }()
	}
	cfg, err := a.poolConfig("rouse bench")
	if err != nil {
		return result, err
	}
	progress := &benchProgress{err: a.err, unit: unit}
	defer progress.clear()
	b, err := bench.Open(ctx, bench.Config{Connect: cfg, Own: own, Log: a.benchLog(), Progress: progress.draw})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return measure(b)
}

// benchLog is what the measured worker logs. Beside the table nobody wants to read its changes of state and what it says of a
// push trigger that is switched off on purpose.
func (a *app) benchLog() zerolog.Logger {
	if a.logLevel == "debug" {
		return a.log
	}
	return a.log.Level(max(a.log.GetLevel(), zerolog.ErrorLevel))
}
