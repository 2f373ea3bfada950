package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/pgserver"
)

const (
	// benchConnections is what the embedded server has room for, benchWriters the most of them that append, and benchIdle the
	// most processes that sleep beside them, of which each needs four.
	benchConnections = 600
	benchWriters     = 256
	benchIdle        = 64

	// benchWorkers is the most workers that share a history, and benchIdleWorkers the most that rest, of which each needs up to six
	// connections.
	benchWorkers     = 32
	benchIdleWorkers = 96

	// benchProjections is the most projections of one process, of which each may have two connections.
	benchProjections = 256

	// benchSchemas is the most schemas that a group is measured with, and benchApart the most workers beside that, of which each needs
	// up to six connections.
	benchSchemas = 2000
	benchApart   = 64
)

func benchVerb(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure latency, catching up, rest, appends and what they cost, each beside a floor",
		Long: `Bench measures on a PostgreSQL server of its own, or in the database that is given, where it
works in a schema of its own, rouse_bench_ and a number, which is dropped at the end and after
Ctrl+C; only a second Ctrl+C, which ends it at once, leaves it there. It prints a small table, or everything that was measured with --json. The ratios are
what to read: what is compared takes turns, and medians are printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(benchLatencyVerb(e), benchCatchupVerb(e), benchAppendVerb(e), benchScaleVerb(e), benchIdleVerb(e), benchTenantsVerb(e),
		benchCostVerb(e), benchWritersVerb(e), benchLadderVerb(e), benchPartitionsVerb(e), benchProjectionsVerb(e),
		benchPayloadsVerb(e), benchWaitVerb(e))
	return cmd
}

// benchmark makes a place to measure in, measures, takes the place away and prints.
func benchmark[R any](ctx context.Context, e *env, measure func(b *bench.Bench) (R, error), show func(*env, R) error, unit string) error {
	if e.db.Schema != "" {
		return usagef("bench works in a schema of its own and drops it at the end (leave out --schema and ROUSE_SCHEMA)")
	}
	result, err := inBench(ctx, e, measure, unit)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(result)
	}
	return show(e, result)
}

func inBench[R any](ctx context.Context, e *env, measure func(b *bench.Bench) (R, error), unit string) (result R, err error) {
	own := e.db.URL == ""
	if own {
		if set := database.ForgetPG(); len(set) > 0 {
			e.log.Warn().Strs("variables", set).Msg("bench starts a server of its own and does not look at these variables (for a database of yours, set DATABASE_URL)")
		}
		// Long histories are written, and no round should pay for a checkpoint that another one has caused.
		settings := map[string]string{"max_connections": fmt.Sprint(benchConnections), "max_wal_size": "8GB"}
		server, startErr := e.db.StartServer(ctx, pgserver.Config{Settings: settings, Log: e.log})
		if startErr != nil {
			return result, startErr
		}
		defer func() { err = errors.Join(err, database.StopServer(context.WithoutCancel(ctx), server)) }()
	}
	cfg, err := e.db.PoolConfig("bench")
	if err != nil {
		return result, err
	}
	progress := &benchProgress{err: e.err, unit: unit}
	defer progress.clear()
	b, err := bench.Open(ctx, bench.Config{Connect: cfg, Own: own, Log: benchLog(e), Progress: progress.draw})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return measure(b)
}

// benchLog is what the measured worker logs. Beside the table nobody wants to read its changes of state and what it says of a
// push trigger that is switched off on purpose.
func benchLog(e *env) zerolog.Logger {
	if e.logLevel == "debug" {
		return e.log
	}
	return e.log.Level(max(e.log.GetLevel(), zerolog.ErrorLevel))
}
