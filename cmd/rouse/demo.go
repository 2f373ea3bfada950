package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/demo"
)

const (
	// firstBurst is how many events are appended before any worker runs, so that there is something to catch up with.
	firstBurst = 1000

	// demoAggregates is how many aggregates the events of `rouse demo` belong to: enough for even shares.
	demoAggregates = 1000

	// demoWorkers is the most workers: as many as a new projection has partitions.
	demoWorkers = 32

	// demoRate is the most events per second that one appender is asked for.
	demoRate = 100_000

	// drainTimeout is for handling what is left at the end.
	drainTimeout = time.Minute
)

// demoFlags are the flags of `rouse demo`.
type demoFlags struct {
	duration time.Duration
	patience time.Duration // how long a stage may take to come to what it should
	workers  int
	rate     float64
	keep     bool
}

func (f demoFlags) validate() error {
	switch {
	case f.duration < 0 || f.duration > 0 && f.duration < time.Second:
		return usagef("--duration %s: one second or longer, or 0 to run until Ctrl+C", f.duration)
	case f.workers < 1 || f.workers > demoWorkers:
		return usagef("--workers %d: from 1 to %d", f.workers, demoWorkers)
	case !(f.rate > 0 && f.rate <= demoRate): // so written, NaN is refused too
		return usagef("--rate %g: events per second, more than 0 and at most %d", f.rate, demoRate)
	}
	return nil
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a database, an appender, workers that join, die, leave and freeze, and a verdict",
		Long: `Demo appends events and walks from one worker to several, each a process of its own: they join
one after the other and share the work evenly. Then one is killed with SIGKILL and started again,
one is stopped in order and started again, and one is frozen with SIGSTOP for longer than its
lease and goes on (not on Windows; the lease is 2 s here, see rouse worker --lease-ttl). One
worker alone is only killed.

For each stage it shows by whom the new events are handled, when the partitions were as planned,
and when another worker handled the first event of the one that was killed or frozen, both from
the moment just before, by the server's clock. A stage takes its part of --duration, and longer
if what it waits for takes longer. With --duration 0 a worker is killed every 20 s after the
walk, until Ctrl+C.

On a terminal it shows what each worker does; elsewhere it prints a line every second. The shares
in it are of about the last two seconds. With --json the last object is the verdict, with all
stages.

The database is a PostgreSQL server that demo starts and takes away again. If DATABASE_URL or
--database-url is given, it is a new schema in that database, named rouse_demo_ and a random
number, which is dropped at the end, also after Ctrl+C. With --keep the database stays to look
at: the server until Ctrl+C, the schema until somebody drops it.

The verdict is one comparison of the log with the rows that the projection ` + demo.Name + `
wrote, one for every time that an event was handled; nothing that workers count goes into it:

  lost          events without a row
  doubled       rows beyond the first of an event
  out of order  events handled after a later one of the same aggregate
  stray         rows of no event

If one of them is not 0 the exit code is 6, and also if partitions were not as planned or not
taken over within 10 s. A share that is off by more than 15 points is only called so.

p50 and p99 are from the insert of an event to the insert of its row, both by the server's
clock: the commit of the event is in it, that of the row is not. While it runs they are of the
last two seconds, at the end of the whole run, with what waited for a worker and without the
1,000 events that were there before.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			if err := f.validate(); err != nil {
				return err
			}
			if a.schema != "" {
				return usagef("--schema %s: demo makes a schema of its own (leave out --schema and ROUSE_SCHEMA)", a.schema)
			}
			return a.demo(ctx, f)
		}),
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.duration, "duration", defaultWalk, "how long the walk takes; 0: go on after it until Ctrl+C")
	flags.IntVar(&f.workers, "workers", 4, "how many worker processes")
	flags.Float64Var(&f.rate, "rate", 200, "events per second, after a first burst of 1,000")
	flags.DurationVar(&f.patience, "patience", 10*time.Second, "how long a stage may take until things are as they should be")
	_ = flags.MarkHidden("patience") // it is there
	flags.BoolVar(&f.keep, "keep", false, "leave the database there to look at")
	return cmd
}

// demo sees to the order of things: a place, the first events, the processes, and everything away again.
func (a *app) demo(ctx context.Context, f demoFlags) (err error) {
	place, err := a.openPlace(ctx)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	judged := false
	defer func() { err = errors.Join(err, place.close(context.WithoutCancel(ctx), f.keep && judged)) }()
	pool, after, err := a.furnish(ctx)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer pool.Close()
	if ctx.Err() != nil {
		return a.note("stopped before the workers were started, there is nothing to judge")
	}
	d := a.newDemo(f, pool, place.environment(a), after)
	if err := d.run(ctx); err != nil {
		return err
	}
	judged = true
	if !f.keep {
		return d.judge(context.WithoutCancel(ctx), "")
	}
	err = d.judge(context.WithoutCancel(ctx), place.name())
	return errors.Join(err, place.stay(ctx))
}

// furnish creates the tables and appends the first burst. It returns the position of its last event. When ctx ends it comes
// back early.
func (a *app) furnish(ctx context.Context) (pool *pgxpool.Pool, after int64, err error) {
	done, err := a.up(ctx)
	if err != nil {
		return nil, 0, err
	}
	if pool, err = a.pool(ctx, "rouse demo", minConns); err != nil {
		return nil, 0, err
	}
	p := &appender{pool: pool, aggregates: demoAggregates, writers: 1}
	err = demo.Ensure(ctx, pool)
	if err == nil {
		err = a.note("the schema is at version %d, %s events are appended before the workers start", done.Version, grouped(firstBurst))
	}
	if err == nil {
		err = p.run(ctx, firstBurst, false)
	}
	if err != nil {
		pool.Close()
		return nil, 0, err
	}
	return pool, p.last.Load(), nil
}

// note prints one line for people, and nothing where data is asked for.
func (a *app) note(format string, args ...any) error {
	if a.json {
		return nil
	}
	return a.say(format, args...)
}

// workerLabel is the name of one worker, workerArgs the command line of its process.
func workerLabel(index int) string { return fmt.Sprintf("worker-%d", index) }

func workerArgs(index int) []string {
	return []string{
		"worker", "--projection", demo.Name, "--worker-id", workerLabel(index), "--lease-ttl", demoLeaseTTL.String(),
		"--log-level", "info", "--log-format", formatJSON, "--until-eof",
	}
}

// appenderArgs is the command line of the appender's process.
func appenderArgs(rate float64) []string {
	return []string{
		"append", "--count", "0", "--rate", fmt.Sprint(rate), "--aggregates", fmt.Sprint(demoAggregates),
		"--log-level", "info", "--log-format", formatJSON, "--until-eof",
	}
}
