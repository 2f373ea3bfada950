package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/database"
)

// completeTimeout is how long a shell waits for the names of projections at most.
const completeTimeout = 2 * time.Second

// completeNames offers a shell the projections of the database, for the first argument of a verb.
func (e *env) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.namesIn(cmd), cobra.ShellCompDirectiveNoFileComp
}

// offerNames has a shell offer projections wherever a command or one below it takes the name of one: those of the database, and for a
// worker those of the program.
func (e *env) offerNames(cmd *cobra.Command) {
	if !cmd.Hidden && strings.Contains(cmd.Use, " NAME") {
		cmd.ValidArgsFunction = e.completeNames
	}
	if cmd.Flags().Lookup("projection") != nil {
		offer := e.namesIn
		if cmd.Name() == e.program.workerVerb() {
			offer = func(*cobra.Command) []string { return e.program.names() }
		}
		_ = cmd.RegisterFlagCompletionFunc("projection", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return offer(cmd), cobra.ShellCompDirectiveNoFileComp
		}) // the flag is there, and has none
	}
	for _, below := range cmd.Commands() {
		e.offerNames(below)
	}
}

// namesIn returns the projections of the database that the flags and variables of a command name. Where it cannot be asked, those of
// the program are better than none.
func (e *env) namesIn(cmd *cobra.Command) []string {
	names := e.program.names()
	if readEnv(cmd.Flags()) != nil {
		return names
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	conn, err := e.db.Connect(ctx, "completion")
	if err != nil {
		return names
	}
	defer database.Close(conn)
	rows, err := conn.Query(ctx, "select projection_name from projections order by projection_name")
	if err != nil {
		return names
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return names
	}
	return slices.Compact(slices.Sorted(slices.Values(append(there, names...))))
}
