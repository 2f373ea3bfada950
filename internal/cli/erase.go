package cli

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/retention"
)

// eraseFlags are what `rouse erase` is asked for.
type eraseFlags struct {
	aggregate string
	yes       bool
	opts      retention.EraseOptions
}

func eraseVerb(e *env) *cobra.Command {
	var f eraseFlags
	cmd := &cobra.Command{
		Use:   "erase",
		Short: "Forget what is in the events of one aggregate, for good",
		Long: `Erase replaces payload and metadata of every event of an aggregate, or deletes the events, but
for the last one, which keeps their versions from being given out again. The texts of errors that
may quote them go too. It names the archives that may still hold them, or, with --archives, writes
those anew without them; rouse archive restore does not bring them back.

Read models are as they were: what is in them is theirs to forget. A projection that is rebuilt
sees what is left. Deleted events are never handled by one that has not come to them. Backups, the
write-ahead log and the pages of the table, before VACUUM has been there, hold what they held.
It needs the rights of the owner of the tables. There is no way back.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return erase(ctx, e, f) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.aggregate, "aggregate", "", "the aggregate, written TYPE/ID")
	flags.StringVar(&f.opts.Payload, "replace", "{}", "what takes the place of payloads, in JSON")
	flags.BoolVar(&f.opts.Delete, "delete", false, "delete the events instead, but for the last")
	flags.StringVar(&f.opts.Dir, "archives", "", "directory of archives that are to be written anew")
	flags.BoolVar(&f.yes, "yes", false, "yes, for good")
	_ = cmd.MarkFlagRequired("aggregate")
	cmd.MarkFlagsMutuallyExclusive("replace", "delete")
	return cmd
}

func erase(ctx context.Context, e *env, f eraseFlags) error {
	aggregateType, id, found := strings.Cut(f.aggregate, "/")
	switch {
	case !found || aggregateType == "" || id == "":
		return usagef("--aggregate %q is not TYPE/ID, such as order/4711", f.aggregate)
	case f.opts.Dir != "" && !isDir(f.opts.Dir):
		return usagef("--archives %s is no directory", f.opts.Dir)
	case !f.yes:
		return usagef("this forgets every event of %s for good: say --yes", f.aggregate)
	}
	return e.db.WithSchema(ctx, "erase", func(pool *pgxpool.Pool) error {
		erased, err := retention.Erase(ctx, pool, eventstore.Stream{Type: aggregateType, ID: id}, f.opts)
		switch {
		case err != nil:
			return err
		case e.json:
			return e.printJSON(erased)
		}
		return sayErased(e, f.aggregate, erased)
	})
}

func sayErased(e *env, aggregate string, erased retention.Erased) error {
	err := e.say("%s: %s deleted, %s without what was in them, %s without their errors", aggregate, console.Counted(erased.Deleted, "event"),
		console.Counted(erased.Replaced, "event"), console.Counted(erased.Parked, "parked event"))
	if err == nil && len(erased.Handled) > 0 {
		err = e.say("read models may hold what they have made of them: those of %s", strings.Join(erased.Handled, ", "))
	}
	for _, a := range erased.Rewritten {
		if err == nil {
			err = e.say("%s is written anew without them", a.Path)
		}
	}
	for _, a := range erased.Archives {
		if err == nil {
			err = e.say("%s may still hold them (say --archives with its directory, or delete it, and its copies)", a.Path)
		}
	}
	return err
}
