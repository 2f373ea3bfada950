package cli

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
)

// Command is a verb of a program's own.
type Command struct {
	Name, Short string

	// Run does it, with a pool of a database that has the schema and the program's own migrations.
	Run func(ctx context.Context, w Work, args []string) error

	// Cobra is the whole verb in place of the other fields. What its RunE does gets the same by Open. Nil: the other fields are it.
	Cobra *cobra.Command
}

// name is what people type.
func (c Command) name() string {
	if c.Cobra != nil {
		return c.Cobra.Name()
	}
	return c.Name
}

// envKey is the context key of the *env of the command that runs.
type envKey struct{}

// ownVerbs makes the verbs of the program's own.
func ownVerbs(e *env) (verbs []*cobra.Command) {
	for _, c := range e.program.Commands {
		cmd := c.Cobra
		if cmd == nil {
			cmd = &cobra.Command{
				Use: c.Name, Short: c.Short, Args: cobra.ArbitraryArgs,
				RunE: func(cmd *cobra.Command, args []string) error { return e.own(cmd.Context(), c, args) },
			}
		}
		lend(e, cmd)
		verbs = append(verbs, cmd)
	}
	return verbs
}

// lend has what a command, and those below it, do find e in its context.
func lend(e *env, cmd *cobra.Command) {
	do := cmd.RunE
	if do == nil && cmd.Run != nil {
		run := cmd.Run
		do = func(cmd *cobra.Command, args []string) error {
			run(cmd, args)
			return nil
		}
	}
	if do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if e.buffer == nil { // it has a PersistentPreRun of its own, which cobra calls in place of ours
				if err := e.prepare(cmd); err != nil {
					return err
				}
			}
			e.parsed = true
			defer cmd.SetContext(cmd.Context())
			cmd.SetContext(context.WithValue(cmd.Context(), envKey{}, e))
			err := do(cmd, args)
			if _, ours := cmd.Annotations[ofRouse]; ours {
				return err
			}
			return own(err)
		}
	}
	for _, below := range cmd.Commands() {
		lend(e, below)
	}
}

// own runs a verb of the program's own.
func (e *env) own(ctx context.Context, c Command, args []string) error {
	w, done, err := e.open(ctx, c.name())
	if err != nil {
		return err
	}
	defer done()
	return own(c.Run(ctx, w, args))
}

// open opens the database for a verb of the program's own. The caller calls done.
func (e *env) open(ctx context.Context, verb string) (w Work, done func(), err error) {
	pool, err := e.db.Pool(ctx, verb, 1)
	if err != nil {
		return Work{}, nil, err
	}
	if err := e.program.checkSchema(ctx, pool); err != nil {
		pool.Close()
		return Work{}, nil, err
	}
	return e.work(pool), pool.Close, nil
}

// work is what a verb of the program's own works with.
func (e *env) work(pool *pgxpool.Pool) Work { return Work{Pool: pool, Schema: e.db.Schema, Log: e.log} }

// Open is what RunE of a Command that is one of cobra gets: what Run gets. The caller calls done.
func Open(cmd *cobra.Command) (w Work, done func(), err error) {
	e, is := cmd.Context().Value(envKey{}).(*env)
	if !is {
		return Work{}, nil, errors.New("this command does not run as one of a program's own")
	}
	return e.open(cmd.Context(), cmd.Name())
}

// Verbs are those that only rouse itself has.
func Verbs() (verbs []Command) {
	e := &env{} // of the one that runs
	for _, cmd := range []*cobra.Command{demoVerb(e), benchVerb(e), benchSleeperVerb(e), benchSubjectVerb(e), demoSchemaVerb(e)} {
		bind(e, cmd)
		verbs = append(verbs, Command{Cobra: cmd})
	}
	return verbs
}

// ofRouse is the annotation of the verbs of rouse itself, whose errors are ours.
const ofRouse = "rouse"

// bind has a verb of rouse itself, and those below it, work with what it is lent.
func bind(e *env, cmd *cobra.Command) {
	cmd.Annotations = map[string]string{ofRouse: ""}
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			lent := cmd.Context().Value(envKey{}).(*env)
			*e = *lent
			defer func() { *lent = *e }() // such as which database it was
			return do(cmd, args)
		}
	}
	for _, below := range cmd.Commands() {
		bind(e, below)
	}
}
