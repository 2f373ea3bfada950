package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/demo"
)

func demoVerb(e *env) *cobra.Command {
	var o demo.Options
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
		RunE: e.verb(func(ctx context.Context) error {
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if e.db.Schema != "" {
				return usagef("--schema %s: demo makes a schema of its own (leave out --schema and ROUSE_SCHEMA)", e.db.Schema)
			}
			return demo.Run(ctx, demo.Config{Options: o, Database: &e.db, Out: e.out, Err: e.err, JSON: e.json, Log: e.log})
		}),
	}
	flags := cmd.Flags()
	flags.DurationVar(&o.Duration, "duration", demo.DefaultWalk, "how long the walk takes; 0: go on after it until Ctrl+C")
	flags.IntVar(&o.Workers, "workers", 4, "how many worker processes")
	flags.Float64Var(&o.Rate, "rate", 200, "events per second, after a first burst of 1,000")
	flags.DurationVar(&o.Patience, "patience", 10*time.Second, "how long a stage may take until things are as they should be")
	_ = flags.MarkHidden("patience") // it is there
	flags.BoolVar(&o.Keep, "keep", false, "leave the database there to look at")
	return cmd
}
