package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/doctor"
	"github.com/rouse-es/rouse/internal/script"
)

func doctorVerb(e *env) *cobra.Command {
	var listenURL, schemas string
	var appends bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that workers rely on, and say what to do about what is wrong",
		Long: `Doctor looks at the server, the schema, the triggers, the sequence, the rights of the role,
LISTEN, at what the engine does, and at what workers, projections and parked events look like.
Run it with the address and the role of a worker. It changes nothing. With --append it also
appends, from two sessions in turn, and rolls that back: up to four positions stay unused.

A line of fail means that events are lost or stand still, or will be; the exit code is then 7.
A line of warn means that it works, but not as well as it could, or that something waits for a
person.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			return inSchemas(ctx, e, schemas, func(ctx context.Context, e *env) error { return examine(ctx, e, listenURL, appends) })
		}),
	}
	schemasFlag(cmd.Flags(), &schemas, "look at each of these schemas of the database")
	cmd.Flags().StringVar(&listenURL, "listen-url", "", "direct address for the listening connection, as for rouse worker")
	cmd.Flags().BoolVar(&appends, "append", false, "try appends, too, under a role that may; they are rolled back")
	fromEnv(cmd.Flags(), "listen-url", "ROUSE_LISTEN_URL")
	return cmd
}

func examine(ctx context.Context, e *env, listenURL string, appends bool) error {
	pool, err := e.db.PoolConfig("doctor")
	if err != nil {
		return err
	}
	cfg := doctor.Config{Pool: pool, Append: appends, Explain: func(err error) string {
		_, sentence := explain(&e.db, err)
		return sentence
	}}
	if listenURL != "" {
		listen, err := listenConfig(&e.db, listenURL, "doctor")
		if err != nil {
			return err
		}
		if cfg.Listen, err = listen(ctx); err != nil {
			return err
		}
	}
	r := doctor.Examine(ctx, cfg)
	e.examineOwn(ctx, &r)
	for i, f := range r.Findings {
		r.Findings[i].Text, r.Findings[i].Do = e.speak(f.Text), e.speak(f.Do)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := printFindings(e, r); err != nil {
		return err
	}
	if r.Failed > 0 {
		return errFindings
	}
	return nil
}

// examineOwn adds what is to be said of the migrations of the program itself, and where it has none, of a right that workers of other
// programs lack. Where there is no connection, that was said before.
func (e *env) examineOwn(ctx context.Context, r *doctor.Report) {
	own := int64(len(e.program.scripts))
	if own == 0 && !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "rights" }) {
		return // there is no schema to speak of
	}
	conn, err := e.db.Connect(ctx, "doctor")
	if err != nil {
		return
	}
	defer database.Close(conn)
	grant, err := script.Grant(ctx, conn)
	if err == nil && grant == "" {
		err = e.program.scripts.Check(ctx, conn)
	}
	finding := doctor.Finding{Check: "migrations", Level: doctor.OK, Text: console.Counted(own, "migration") + " of " + e.program.name() + " applied"}
	switch {
	case grant != "":
		finding.Text = "the role may not see which migrations of programs were applied: a worker of a program that has any does not start"
		finding.Level, finding.Do = doctor.Fail, "run as the owner of the schema: "+grant
		if own == 0 {
			finding.Level = doctor.Warn
		}
	case err != nil:
		finding.Level, finding.Text = doctor.Fail, plain(err)
	case own == 0:
		return
	}
	switch finding.Level {
	case doctor.Fail:
		r.Failed++
	case doctor.Warn:
		r.Warned++
	}
	r.Findings = append(r.Findings, finding)
}

func printFindings(e *env, r doctor.Report) error {
	if e.json {
		return e.printJSON(r)
	}
	for _, f := range r.Findings {
		if err := e.say("%-4s  %-13s  %s", f.Level, f.Check, f.Text); err != nil {
			return err
		}
		if f.Do != "" {
			if err := e.say("%-4s  %-13s  -> %s", "", "", f.Do); err != nil {
				return err
			}
		}
	}
	return e.say("%s", verdictOf(r))
}

func verdictOf(r doctor.Report) string {
	if r.Failed+r.Warned == 0 {
		return "all is well"
	}
	return fmt.Sprintf("%d fail, %d warn", r.Failed, r.Warned)
}
