package app

import (
	"context"
	"os"

	"github.com/rouse-es/rouse/internal/cli"
)

// Run runs a program that has no verbs: main gets a pool for the database of DATABASE_URL (or ROUSE_DATABASE_URL, or the PG* variables
// of PostgreSQL), a log on standard error, and a context that SIGINT, SIGTERM and SIGHUP end. ROUSE_SCHEMA, ROUSE_LOG_LEVEL and
// ROUSE_LOG_FORMAT count as in Main; the arguments of the process are left to main. The pool has been tried, the schema has not been
// looked at. An error of main is printed as one sentence, without passwords, and ends the process with the exit code that belongs to it.
// A main that returns because of such a signal has done its work. Run returns where main returns nil.
func Run(main func(ctx context.Context, env Env) error) {
	code := cli.Run(func(ctx context.Context, w cli.Work) error { return main(ctx, envOf(w)) }, os.Stdout, os.Stderr)
	if code != 0 {
		os.Exit(code)
	}
}
