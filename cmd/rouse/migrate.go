package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/migrations"
)

// migrated is what `rouse migrate` reports.
type migrated struct {
	Applied int `json:"applied"`
	Version int `json:"version"`
}

func (a *app) migrateCommand() *cobra.Command {
	var script bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create the tables and triggers, or bring them up to date",
		Long: `Migrate applies what is missing of the schema, in one transaction. It may be run at any
time and by many processes at once; where the schema is current it changes nothing.

With --print it prints the whole schema as a script, for people who apply schemas with a
tool of their own, and needs no database.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			if script {
				return migrations.Print(a.out)
			}
			return a.migrate(ctx)
		}),
	}
	cmd.Flags().BoolVar(&script, "print", false, "print the SQL instead of running it")
	return cmd
}

func (a *app) migrate(ctx context.Context) error {
	done, err := a.up(ctx)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(done)
	case done.Applied == 0:
		return a.say("the schema is at version %d, nothing to do", done.Version)
	}
	return a.say("applied %d migrations, the schema is at version %d", done.Applied, done.Version)
}

// up brings the schema up to date.
func (a *app) up(ctx context.Context) (migrated, error) {
	conn, err := a.connect(ctx, "rouse migrate")
	if err != nil {
		return migrated{}, err
	}
	defer closeConn(conn)
	applied, err := migrations.Up(ctx, conn)
	if err != nil {
		return migrated{}, err
	}
	if err := migrations.Check(ctx, conn); err != nil { // newer than this binary understands
		return migrated{}, err
	}
	version, _, err := migrations.Version(ctx, conn)
	return migrated{Applied: applied, Version: version}, err
}
