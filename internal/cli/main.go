// Package cli is the command line of rouse: one file for each verb, which reads the flags, does its work through the packages
// that know how, and prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/signal"
)

// env is what every verb gets: where output goes, the persistent flags, and the logger that they ask for. Before the command
// line is parsed the flags have their defaults.
type env struct {
	program  *Program
	out, err io.Writer // data; logs and what is for people

	db                  database.Database // --database-url and --schema
	schema              string            // which of --schemas it is at the moment; "": there is no such flag
	json                bool
	logLevel, logFormat string

	path     string          // what people type before the verbs; "": it is not known yet
	verbs    map[string]bool // of the program, all but that of workers
	knowPath func()          // finds path and verbs; nil: there are no verbs
	embedded bool            // below a command that is not ours

	log    zerolog.Logger
	buffer *logBuffer // what log writes to; nil: there is no log yet
	parsed bool       // the command line was understood: an error from now on is not one of usage
}

const about = `

The database is given by --database-url, ROUSE_DATABASE_URL, DATABASE_URL or the
PG* variables of PostgreSQL, in this order. Data goes to standard output, logs to
standard error: readable on a terminal, JSON elsewhere. Flags with "(env NAME)" can
also be set by that variable.

Exit codes:
`

// Main runs one command line of a program and returns the exit code.
func Main(program Program, args []string, stdout, stderr io.Writer) int {
	e := newEnv(program, stdout, stderr)
	root := rootCommand(e)
	root.SetArgs(args)
	help := &written{to: stdout} // and what else cobra prints, whose errors it drops
	root.SetOut(help)
	root.SetErr(stderr)
	ctx, stop := signal.Context(context.Background())
	defer stop()
	if err := errors.Join(e.program.check(), clash(root)); err != nil {
		return e.end(ctx, err)
	}
	verb, err := root.ExecuteContextC(ctx)
	if help.err != nil {
		err, e.parsed = help.err, true
	}
	if err != nil && !e.parsed {
		err = fmt.Errorf("%w (see %s --help)", err, verb.CommandPath())
	}
	return e.end(ctx, err)
}

// clash says which verb of the program's own has the name of another one; an error is one of usage.
func clash(root *cobra.Command) error {
	seen := map[string]bool{"help": true, "completion": true}
	for _, cmd := range root.Commands() {
		for _, name := range append([]string{cmd.Name()}, cmd.Aliases...) {
			if seen[name] {
				return usagef("the verb %s of this program is there already (give it another name)", name)
			}
			seen[name] = true
		}
	}
	return nil
}

// newEnv is that of a program before its command line is read.
func newEnv(program Program, stdout, stderr io.Writer) *env {
	return &env{program: &program, out: stdout, err: stderr, log: zerolog.Nop(), db: database.Database{Program: program.name()}}
}

// written keeps the first error of writing to a writer.
type written struct {
	to  io.Writer
	err error
}

func (w *written) Write(p []byte) (n int, err error) {
	n, err = w.to.Write(p)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("cannot write what was asked for: %w", err)
	}
	return n, err
}

func rootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:               e.program.name(),
		Short:             e.program.short(),
		Long:              e.program.about() + exitCodeHelp(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return e.prepare(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	e.persistentFlags(root)
	root.AddCommand(versionVerb(e), migrateVerb(e), appendVerb(e), statusVerb(e), workerVerb(e), tailVerb(e),
		dashboardVerb(e), projectionVerb(e), waitVerb(e), parkedVerb(e), pruneVerb(e), archiveVerb(e), eraseVerb(e), doctorVerb(e))
	e.offerNames(root) // of ours: what an argument of the program's own verbs is, it knows itself
	root.AddCommand(ownVerbs(e)...)
	e.knowPath = e.learning(root)
	return root
}

// persistentFlags adds the flags of all verbs.
func (e *env) persistentFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&e.db.URL, "database-url", "", "address of the database, postgres://user@host:port/name or key=value words")
	flags.StringVar(&e.db.Schema, "schema", "", "schema that holds Rouse's tables; default: what search_path says")
	flags.BoolVar(&e.json, "json", false, "print data as JSON")
	flags.StringVar(&e.logLevel, "log-level", "info", "debug, info, warn, error or off")
	flags.StringVar(&e.logFormat, "log-format", formatAuto, "auto, pretty or json; auto is pretty on a terminal")
	fromEnv(flags, "database-url", "ROUSE_DATABASE_URL", "DATABASE_URL")
	for _, name := range []string{"schema", "json", "log-level", "log-format"} {
		fromEnv(flags, name, "ROUSE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
}

// prepare completes the flags from the environment and makes the logger. What is wrong with them is a fault of usage.
func (e *env) prepare(cmd *cobra.Command) error {
	if e.knowPath != nil {
		e.knowPath()
	}
	if e.embedded {
		e.db.Program = e.path
	}
	if err := readEnv(cmd.Flags()); err != nil {
		return err
	}
	log, buffer, err := newLogger(e.err, e.logLevel, e.logFormat, func(w io.Writer) io.Writer { return speakingLines{w, e} })
	if err != nil {
		return err
	}
	e.log, e.buffer = log, buffer
	return nil
}

// verb wraps what a command does: once the command line is understood, an error is no longer one of usage by itself.
func (e *env) verb(do func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		e.parsed = true
		return do(cmd.Context())
	}
}
