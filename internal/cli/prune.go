package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/retention"
)

// pruneFlags are what `rouse prune` is asked for.
type pruneFlags struct {
	olderThan, to string
	keepLast, yes bool
	opts          retention.PruneOptions
}

func pruneVerb(e *env) *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Archive events that every projection has handled, and remove them from the log",
		Long: `Prune writes events into archives, and removes them from the log once they are on disk and read
back: those that are older than --older-than, and that every projection has passed with nothing
parked before. A projection that lags, is paused or stopped keeps what it has not handled, until
it is named with --ignore; then it is stopped where it misses events. The last event of the log
always stays, and that of each stream, which appends look for. Without --yes prune says what it
would do, and by whom it is held.

--to is a directory, in which files events-FIRST-LAST.ndjson.zst come to be. With --to - one archive
of up to --file-events events goes to standard output, for another program to keep. Nobody can
read back what that has kept: if it loses it, the events are lost. So have it fail the whole
pipeline, or write to a directory and copy that.

It needs the rights of the owner of the tables. It may run beside workers and appends, and is
run again where it was interrupted. A new projection can only begin behind what was removed,
until rouse archive restore puts it back.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return prune(ctx, e, f) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.olderThan, "older-than", "", "the age from which on events go, such as 30d, 12h or 0")
	flags.StringVar(&f.to, "to", "", "directory for archives; -: standard output")
	flags.BoolVar(&f.keepLast, "keep-last-of-stream", true, "keep the last event of each stream; without it appends begin streams anew")
	flags.StringSliceVar(&f.opts.Ignore, "ignore", nil, "projections that may lose events which they have not handled, and are then stopped")
	flags.IntVar(&f.opts.Batch, "batch", 10_000, "events that are removed in one transaction")
	flags.IntVar(&f.opts.FileEvents, "file-events", 1_000_000, "events in one archive")
	flags.BoolVar(&f.yes, "yes", false, "do it")
	_ = cmd.MarkFlagRequired("older-than")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func prune(ctx context.Context, e *env, f pruneFlags) error {
	age, err := parseAge(f.olderThan)
	switch {
	case err != nil:
		return err
	case f.to == "":
		return usagef("--to is empty: name a directory, or - for standard output")
	case f.opts.Batch < 1 || f.opts.FileEvents < 1:
		return usagef("--batch and --file-events begin at 1")
	case f.to == "-" && e.json:
		return usagef("--json has no place to go, because standard output is the archive's")
	}
	f.opts.OlderThan, f.opts.LastToo = age, !f.keepLast
	if f.to == "-" {
		f.opts.Out = e.out
	} else if f.opts.Dir = f.to; !isDir(f.to) {
		return usagef("--to %s is no directory (make it)", f.to)
	}
	return e.db.WithSchema(ctx, "prune", func(pool *pgxpool.Pool) error {
		if !f.yes {
			plan, err := retention.PlanPrune(ctx, pool, f.opts)
			if err != nil {
				return err
			}
			return sayPlan(e, f, plan)
		}
		pruned, err := retention.Prune(ctx, pool, f.opts)
		if err != nil {
			return err
		}
		return sayPruned(e, f, pruned)
	})
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// parseAge reads an age: what Go reads as a duration, or days.
func parseAge(text string) (time.Duration, error) {
	if days, is := strings.CutSuffix(text, "d"); is {
		if n, err := strconv.ParseInt(days, 10, 32); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return 0, usagef("--older-than %q is no age, such as 30d, 12h or 0", text)
	}
	return age, nil
}

func sayPlan(e *env, f pruneFlags, plan retention.Plan) error {
	if e.json {
		return e.printJSON(plan)
	}
	say := e.aside(f)
	for _, a := range plan.Unfinished {
		if err := say("would go on with removing what %s holds", a.Path); err != nil {
			return err
		}
	}
	if plan.Events > 0 {
		err := say("would archive %s, from position %s to %s, and remove them from the log (say --yes to have it done)",
			console.Counted(plan.Events, "event"), console.Grouped(plan.First), console.Grouped(plan.Last))
		if err != nil {
			return err
		}
	} else if len(plan.Unfinished) == 0 {
		if err := say("there is nothing to archive"); err != nil {
			return err
		}
	}
	return sayHeld(e, say, plan)
}

func sayPruned(e *env, f pruneFlags, pruned retention.Pruned) error {
	if e.json {
		return e.printJSON(pruned)
	}
	say := e.aside(f)
	for _, a := range pruned.Archives {
		if err := say("%s holds positions %s to %s, %s", a.Path, console.Grouped(a.First), console.Grouped(a.Last), console.Counted(a.Events, "event")); err != nil {
			return err
		}
	}
	if err := say("removed %s from the log", console.Counted(pruned.Removed+pruned.Superseded, "event")); err != nil {
		return err
	}
	return sayHeld(e, say, pruned.Plan)
}

// aside returns what prints a line: on standard error where an archive goes to standard output.
func (e *env) aside(f pruneFlags) func(format string, args ...any) error {
	if f.to != "-" {
		return e.say
	}
	return func(format string, args ...any) error { return console.Printf(e.err, e.speak(format)+"\n", args...) }
}

// sayHeld says what holds events in the log: of those that hold the most.
func sayHeld(e *env, say func(format string, args ...any) error, plan retention.Plan) error {
	for _, h := range plan.Holders {
		if h.Position != plan.Until {
			break
		}
		if err := say("nothing behind position %s goes: %s", console.Grouped(plan.Until), e.speak(heldBy(h))); err != nil {
			return err
		}
	}
	return nil
}

func heldBy(h retention.Holder) string {
	switch h.Why {
	case "parked":
		return fmt.Sprintf("%s has an event parked there (rouse parked list --projection %s)", h.Projection, h.Projection)
	case "reset":
		return fmt.Sprintf("%s is to start over there", h.Projection)
	case "last":
		return "the last event of the log stays"
	case "horizon":
		return "an append is still open (rouse status shows it)"
	}
	if h.State != "running" && h.State != "" {
		return fmt.Sprintf("%s is %s there (let it go on, or give it up with --ignore %s)", h.Projection, h.State, h.Projection)
	}
	return fmt.Sprintf("%s has handled no more", h.Projection)
}
