package cli

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/retention"
)

func archiveVerb(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Check the archives of rouse prune, and put events back",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(archiveVerifyVerb(e), archiveRestoreVerb(e))
	return cmd
}

func archiveVerifyVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Read all archives of a directory, and compare them with what the database knows",
		Long: `Verify reads every archive in a directory to its end, compares it with its own manifest and with
the sum that the database has of it, and looks that none is missing between the first event and
those that are in the log. It changes nothing. If something is wrong it says what, and ends with 7.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			return withDir(cmd.Context(), e, "archive verify", args[0], verifyArchives)
		},
	}
}

func archiveRestoreVerb(e *env) *cobra.Command {
	var from int64
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Put the events of archives back into the log",
		Long: `Restore puts events back at their positions, byte for byte, the last archive first. No projection
handles them again, because all are past them; but one may then be rebuilt, reset or created to
begin among them. rouse prune takes them out of the log again, without writing the archives anew.
It needs the rights of the owner of the tables. It may run beside workers and appends, fails
where another event stands at a position, and is run again where it was interrupted. What rouse
erase has erased does not come back.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from < 0 {
				return usagef("--from %d: positions begin at 1", from)
			}
			e.parsed = true
			return withDir(cmd.Context(), e, "archive restore", args[0], func(ctx context.Context, e *env, pool *pgxpool.Pool, dir string) error {
				return restoreArchives(ctx, e, pool, dir, from)
			})
		},
	}
	cmd.Flags().Int64Var(&from, "from", 0, "no more than is needed to begin behind this position; 0: all")
	return cmd
}

func withDir(ctx context.Context, e *env, name, dir string, do func(ctx context.Context, e *env, pool *pgxpool.Pool, dir string) error) error {
	if !isDir(dir) {
		return usagef("%s is no directory (name the one that has the archives)", dir)
	}
	return e.db.WithSchema(ctx, name, func(pool *pgxpool.Pool) error { return do(ctx, e, pool, dir) })
}

func verifyArchives(ctx context.Context, e *env, pool *pgxpool.Pool, dir string) error {
	verified, err := retention.Verify(ctx, pool, dir)
	if err != nil {
		return err
	}
	if e.json {
		err = e.printJSON(verified)
	} else {
		for _, fault := range verified.Faults {
			if err := e.say("FAIL %s", fault); err != nil {
				return err
			}
		}
		err = e.say("%s, %s, as they were written", console.Counted(int64(verified.Files), "archive"), console.Counted(verified.Events, "event"))
	}
	if err == nil && len(verified.Faults) > 0 {
		err = errFindings
	}
	return err
}

func restoreArchives(ctx context.Context, e *env, pool *pgxpool.Pool, dir string, from int64) error {
	restored, err := retention.Restore(ctx, pool, dir, from)
	switch {
	case err != nil:
		return err
	case e.json:
		return e.printJSON(restored)
	case len(restored.Archives) == 0:
		err = e.say("nothing is missing in the log that is to be restored")
	default:
		err = e.say("put back %s of %s", console.Counted(restored.Events, "event"), console.Counted(int64(len(restored.Archives)), "archive"))
	}
	if err != nil || restored.WholeFrom == 0 {
		return err
	}
	return e.say("the log is whole behind position %s", console.Grouped(restored.WholeFrom))
}
