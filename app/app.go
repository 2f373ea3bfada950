package app

import (
	"context"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/cli"
)

// Config says what a program is made of. Every field may be left out; what Projections, Effects and With give are the handlers.
// Main and Cobra do not change it.
type Config struct {
	// Name is what people type to run the program. Its help, its messages and the server's list of connections say it.
	// Default: the name of the binary.
	Name string

	// Short says in one line what the program is, for its help, and Long is what the help begins with. Default: a line about Rouse, and
	// Short.
	Short, Long string

	// Version is what the verb version says. Default: what Go has recorded in the binary.
	Version string

	// Projections and Effects are what workers run. Each name may occur once, over both lists and what With returns.
	Projections []rouse.Projection
	Effects     []rouse.Effect

	// With returns further handlers, those that need the pool, the label of the worker or a logger. It is called before a worker
	// starts, after the schema was found to be there, and with --schemas before each start of the worker of a schema, at the same time
	// for up to four of them. An error keeps the worker from starting. Default: there are none.
	With func(ctx context.Context, env Env) (Handlers, error)

	// Migrations holds the program's own migrations: all files of SQL in it whose names end with .sql, in whatever folder, such as an
	// embed.FS. The verb migrate applies them after Rouse's, in the order of their names, each once, in a transaction of its own under
	// the lock of all migrations, for up to migrations.Timeout. It records the name and a checksum of each in the table
	// rouse_program_migrations, so programs that share a schema must not have files of the same name. A worker, and a Command, refuses
	// to start while one is missing or was changed since. There is no way back: files of other tools that undo migrations, by their name
	// (.down.sql) or by a line in them, are refused. Default: there are none.
	Migrations fs.FS

	// Worker has the last word on the configuration of each worker, after flags, variables and the fields above: it may set what has no
	// flag, such as PromoteCaughtUp. With --schemas it is called for each schema, by several goroutines at once. Default: as the flags
	// say.
	Worker func(*rouse.Config)

	// WorkerVerb is the verb that runs a worker, such as projection-worker. Default: worker.
	WorkerVerb string

	// Commands are further verbs. Default: there are none.
	Commands []Command

	// Default are the names of the projections and effects that a worker runs where --projection and ROUSE_PROJECTION name none.
	// Default: all of them.
	Default []string
}

// Command is a verb of the program's own. It has the flags for the database and for logs, and the exit codes of all verbs.
type Command struct {
	// Name is what people type, and Short what the list of verbs says. Both are needed.
	Name, Short string

	// Run does the work. args are the arguments that are no flags. The schema of the database, and the program's own migrations, were
	// found to be there. ctx ends with the first SIGINT, SIGTERM or SIGHUP; a verb that serves until then returns nil, and one that
	// returns the error of ctx is reported as not done. Any other error is printed as one sentence.
	Run func(ctx context.Context, env Env, args []string) error

	// Cobra is the whole command in place of the fields above, for one with flags or with commands below it. Its RunE, and that of those
	// below it, gets what Run gets from Open. Default: the fields above are all.
	Cobra *cobra.Command
}

// Open opens the database for a Command that is one of cobra: cmd is the argument of its RunE. It returns what Command.Run gets, and done,
// which the caller calls at the end. An error says that the database cannot be reached, or that its schema or a migration is missing.
func Open(cmd *cobra.Command) (env Env, done func(), err error) {
	w, done, err := cli.Open(cmd)
	return envOf(w), done, err
}

// Handlers are projections and effects that Config.With returns.
type Handlers struct {
	Projections []rouse.Projection
	Effects     []rouse.Effect
}

// Env is what a program works with: the database that its flags and variables name, and its logs.
type Env struct {
	// Pool leads to the database, and in it to the schema that --schema or --schemas names. It is closed after the work has ended.
	// With --schemas it has two connections for each schema, apart from those of the workers.
	Pool *pgxpool.Pool

	// Schema holds Rouse's tables. "": search_path finds them.
	Schema string

	// Label is the name of a worker, from --worker-id or WORKER_ID, or host name and process id. "" where there is no worker.
	Label string

	// Log is the log of the program, in the form and at the level that the flags say.
	Log zerolog.Logger

	names []string
}

// Runs reports whether a worker is about to run the projection or effect of that name, so that With need not connect to what only
// others use. It may return those as well.
func (e Env) Runs(name string) bool { return cli.Work{Names: e.names}.Runs(name) }

// Main runs the program with the command line of the process, and ends the process with one of the exit codes that its help lists.
// It is the whole of a func main.
func Main(cfg Config) { os.Exit(cli.Main(cfg.program(), os.Args[1:], os.Stdout, os.Stderr)) }

// program is cfg as the command line has it.
func (cfg Config) program() cli.Program {
	p := cli.Program{
		Name: cfg.Name, Short: cfg.Short, Long: cfg.Long, Version: cfg.Version, Worker: cfg.Worker, WorkerVerb: cfg.WorkerVerb, Default: cfg.Default,
		Handlers: cli.Handlers{Projections: cfg.Projections, Effects: cfg.Effects},
	}
	p.Migrations = cfg.Migrations
	for _, c := range cfg.Commands {
		verb := cli.Command{Name: c.Name, Short: c.Short, Cobra: c.Cobra}
		if c.Run != nil {
			verb.Run = func(ctx context.Context, w cli.Work, args []string) error { return c.Run(ctx, envOf(w), args) }
		}
		p.Commands = append(p.Commands, verb)
	}
	if cfg.With != nil {
		p.With = func(ctx context.Context, w cli.Work) (cli.Handlers, error) {
			h, err := cfg.With(ctx, envOf(w))
			return cli.Handlers{Projections: h.Projections, Effects: h.Effects}, err
		}
	}
	return p
}

// envOf is what the program sees of the work.
func envOf(w cli.Work) Env {
	return Env{Pool: w.Pool, Schema: w.Schema, Label: w.Label, Log: w.Log, names: w.Names}
}
