package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/migrations"
)

// migrated is what `rouse migrate` reports.
type migrated struct {
	Applied int `json:"applied"`
	Version int `json:"version"`

	// Own is how many migrations of the program itself were applied. Null: it has none.
	Own *int `json:"own_applied,omitempty"`

	// Carry is what was asked for: on or off; empty: nothing was.
	Carry string `json:"carry,omitempty"`
}

func migrateVerb(e *env) *cobra.Command {
	var script bool
	var schemas, carry string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create the tables and triggers, or bring them up to date",
		Long: `Migrate applies what is missing of the schema, in one transaction. It may be run at any
time and by many processes at once; where the schema is current it changes nothing.
Beside a dump or a long transaction it waits for short moments only, so that nobody
queues behind it, says what is in the way, and tries again for two minutes.

With --carry on, the push of an append carries its events, so that workers that sleep need
not read them and handle them sooner; anybody who may connect to the database can then hear
them (see Security in the docs). Each time it makes a new key to seal them with. With
--carry off, pushes carry nothing, as at first. Without, it stays as it is.

With --print it prints the whole schema as a script, for people who apply schemas with a
tool of their own, and needs no database.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case carry != "" && carry != "on" && carry != "off":
				return usagef("--carry %q: on or off", carry)
			case script && carry != "":
				return usagef("--print and --carry exclude each other (the script is of a schema whose pushes carry nothing)")
			case script:
				if err := migrations.Print(e.out); err != nil {
					return err
				}
				return e.program.scripts.Print(e.out)
			}
			return inSchemas(ctx, e, schemas, func(ctx context.Context, e *env) error { return migrate(ctx, e, carry) })
		}),
	}
	schemasFlag(cmd.Flags(), &schemas, "migrate each of these schemas of the database, which must exist")
	cmd.Flags().StringVar(&carry, "carry", "", "on: pushes carry the events of their appends, on which anybody may listen; off: they do not")
	cmd.Flags().BoolVar(&script, "print", false, "print the SQL instead of running it")
	return cmd
}

// migrate brings the schema up to date, and has the pushes carry events or not, where carry is on or off.
func migrate(ctx context.Context, e *env, carry string) error {
	waiting := func(blocked *migrations.BlockedError) {
		_, _ = fmt.Fprintln(e.err, e.program.name()+": waiting:", oneLine(blocked.Error()))
	}
	applied, version, err := e.db.Migrate(ctx, waiting)
	if err == nil && carry != "" {
		err = e.db.Carry(ctx, carry == "on", waiting)
	}
	done := migrated{Applied: applied, Version: version, Carry: carry}
	if err == nil && len(e.program.scripts) > 0 {
		var own int
		own, err = migrateOwn(ctx, e)
		done.Own = &own
	}
	switch {
	case err != nil:
		return err
	case e.json:
		return e.printJSON(done)
	}
	if err := sayMigrated(e, done); err != nil || done.Own == nil {
		return err
	}
	if *done.Own == 0 {
		return e.say("%s of %s had been applied", console.Counted(int64(len(e.program.scripts)), "migration"), e.program.name())
	}
	return e.say("applied %s of %s", console.Counted(int64(*done.Own), "migration"), e.program.name())
}

// migrateOwn applies the migrations of the program itself.
func migrateOwn(ctx context.Context, e *env) (applied int, err error) {
	conn, err := e.db.Connect(ctx, "migrate")
	if err != nil {
		return 0, err
	}
	defer database.Close(conn)
	return e.program.scripts.Up(ctx, conn)
}

// sayMigrated says what has become of Rouse's tables.
func sayMigrated(e *env, done migrated) error {
	carry := done.Carry
	said := "nothing to do"
	if carry != "" {
		said = "pushes carry " + map[string]string{"on": "the events of their appends", "off": "nothing"}[carry]
	}
	if done.Applied > 0 {
		text := fmt.Sprintf("applied %d migrations, the schema is at version %d", done.Applied, done.Version)
		if carry != "" {
			text += ", " + said
		}
		return e.say("%s", text)
	}
	return e.say("the schema is at version %d, %s", done.Version, said)
}
