package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/migrations"
)

// migrated is what `rouse migrate` reports.
type migrated struct {
	Applied int `json:"applied"`
	Version int `json:"version"`
}

func migrateVerb(e *env) *cobra.Command {
	var script bool
	var schemas string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create the tables and triggers, or bring them up to date",
		Long: `Migrate applies what is missing of the schema, in one transaction. It may be run at any
time and by many processes at once; where the schema is current it changes nothing.
Beside a dump or a long transaction it waits for short moments only, so that nobody
queues behind it, says what is in the way, and tries again for two minutes.

With --print it prints the whole schema as a script, for people who apply schemas with a
tool of their own, and needs no database.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			if script {
				return migrations.Print(e.out)
			}
			return inSchemas(ctx, e, schemas, migrate)
		}),
	}
	schemasFlag(cmd.Flags(), &schemas, "migrate each of these schemas of the database, which must exist")
	cmd.Flags().BoolVar(&script, "print", false, "print the SQL instead of running it")
	return cmd
}

func migrate(ctx context.Context, e *env) error {
	applied, version, err := e.db.Migrate(ctx, func(blocked *migrations.BlockedError) {
		_, _ = fmt.Fprintln(e.err, "rouse: waiting:", oneLine(blocked.Error()))
	})
	done := migrated{Applied: applied, Version: version}
	switch {
	case err != nil:
		return err
	case e.json:
		return e.printJSON(done)
	case done.Applied == 0:
		return e.say("the schema is at version %d, nothing to do", done.Version)
	}
	return e.say("applied %d migrations, the schema is at version %d", done.Applied, done.Version)
}
