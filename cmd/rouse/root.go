package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/signal"
)

// app is what all verbs share: where output goes, and the persistent flags.
type app struct {
	out, err io.Writer // data; logs and what is for people

	databaseURL, schema string
	json                bool
	logLevel, logFormat string

	tracePool func(cfg *pgxpool.Config) // makes the connections of pools have spans; nil: they have none

	log    zerolog.Logger
	parsed bool // the command line was understood: an error from now on is not one of usage
}

const about = `Rouse turns events in a PostgreSQL table into read models: pushed when an event is
appended, exactly once, in order per aggregate, over one or many worker processes.

The database is given by --database-url, ROUSE_DATABASE_URL, DATABASE_URL or the
PG* variables of PostgreSQL, in this order. Data goes to standard output, logs to
standard error: readable on a terminal, JSON elsewhere. Flags with "(env NAME)" can
also be set by that variable.

Exit codes:
`

// execute runs one command line and returns the exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	a := &app{out: stdout, err: stderr, log: zerolog.Nop()}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := signal.Context(context.Background())
	defer stop()
	verb, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !a.parsed {
		err = usageError{fmt.Errorf("%w (see %s --help)", err, verb.CommandPath())}
	}
	if isStop(err) || isStop(context.Cause(ctx)) && errors.Is(err, context.Canceled) {
		err = errIncomplete
	}
	code, sentence := a.explain(err)
	_, _ = fmt.Fprintln(stderr, "rouse: "+sentence)
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "rouse",
		Short:             "Push-driven projections over PostgreSQL",
		Long:              about + exitCodeHelp(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.databaseURL, "database-url", "", "address of the database, postgres://user@host:port/name or key=value words")
	flags.StringVar(&a.schema, "schema", "", "schema that holds Rouse's tables; default: what search_path says")
	flags.BoolVar(&a.json, "json", false, "print data as JSON")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn, error or off")
	flags.StringVar(&a.logFormat, "log-format", formatAuto, "auto, pretty or json; auto is pretty on a terminal")
	fromEnv(flags, "database-url", "ROUSE_DATABASE_URL", "DATABASE_URL")
	for _, name := range []string{"schema", "json", "log-level", "log-format"} {
		fromEnv(flags, name, "ROUSE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	root.AddCommand(a.versionCommand(), a.migrateCommand(), a.appendCommand(), a.statusCommand(), a.workerCommand(), a.tailCommand(),
		a.dashboardCommand(), a.projectionCommand(), a.parkedCommand(), a.doctorCommand(), a.demoCommand(), a.benchCommand(), a.benchSleeperCommand(),
		a.schemaKeeperCommand())
	return root
}

// prepare completes the flags from the environment and makes the logger. What is wrong with them is a fault of usage.
func (a *app) prepare(cmd *cobra.Command) error {
	if err := readEnv(cmd.Flags()); err != nil {
		return err
	}
	log, err := newLogger(a.err, a.logLevel, a.logFormat)
	if err != nil {
		return err
	}
	a.log = log
	return nil
}

// verb wraps what a command does: once the command line is understood, an error is no longer one of usage by itself.
func (a *app) verb(do func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a.parsed = true
		return do(cmd.Context())
	}
}
