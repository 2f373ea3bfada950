package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/metrics"
	"github.com/rouse-es/rouse/partition"
)

// workerFlags are the flags of `rouse worker`.
type workerFlags struct {
	projections                 []string
	id, listenURL               string
	schemas                     string
	onFailure                   string
	retries                     int
	total, partitions, batch    int
	batchBytes                  int
	maxPartitions, concurrency  int
	once, pollOnly, syncCommit  bool
	untilEOF                    bool
	handlerTimeout, stopTimeout time.Duration
	batchTime                   time.Duration
	leaseTTL, idleInterval      time.Duration
	http                        httpFlags
}

// workerVerb runs projections and effects of the program.
func workerVerb(e *env) *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   e.program.workerVerb(),
		Short: "Run projections and effects",
		Long:  e.program.workerHelp(),
		Args:  cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			signal.KeepAfterClosedPipe()
			return untilEOF(ctx, f.untilEOF, func(ctx context.Context) error {
				err := runWorker(ctx, e, f)
				if !f.once {
					err = signal.IgnoreEnd(ctx, err) // it was stopped before it began
				}
				return err
			})
		}),
	}
	if cmd.Name() != "worker" { // what files and pages type that do not know the program
		cmd.Aliases = []string{"worker"}
	}
	f.register(cmd.Flags(), e.program)
	return cmd
}

// register adds the flags and their variables.
func (f *workerFlags) register(flags *pflag.FlagSet, program *Program) {
	flags.StringArrayVar(&f.projections, "projection", program.Default, "which to run, several with a comma between them"+program.choices())
	schemasFlag(flags, &f.schemas, "work for each of these schemas of the database, and for those that come later")
	flags.BoolVar(&f.once, "once", false, "handle what is there, and exit")
	flags.StringVar(&f.id, "worker-id", "", "name of this worker, and with --total-workers its number: N or NAME-N")
	flags.IntVar(&f.total, "total-workers", 0, "how many workers there are in all, for fixed shares; 0 or not given: shares follow from who is there")
	flags.IntVar(&f.partitions, "partitions", 0, "partitions of a new projection, a power of two; 0: as the database says, 32 for a new one")
	flags.IntVar(&f.maxPartitions, "max-partitions", 0, "the most partitions that this worker takes; 0: no limit")
	flags.IntVar(&f.concurrency, "concurrency", 1, "how many batches are handled at once, each of partitions of its own")
	flags.IntVar(&f.batch, "batch-size", 0, "the most events of one transaction; 0: 1000, and up to 10000 while more wait and they are fast")
	flags.IntVar(&f.batchBytes, "batch-bytes", rouse.DefaultBatchBytes, "the most bytes of events that are read at a time, which bounds the memory")
	flags.DurationVar(&f.batchTime, "batch-time", rouse.DefaultBatchTime, "how long to handle events before what is done is committed; negative: no limit")
	flags.BoolVar(&f.pollOnly, "poll-only", false, "do not listen, read every second or faster")
	flags.BoolVar(&f.syncCommit, "sync-commit", false, "wait for the disk at every commit")
	flags.StringVar(&f.listenURL, "listen-url", "", "direct address for the listening connection, where --database-url leads to a pooler")
	flags.StringVar(&f.onFailure, "on-failure", string(rouse.Park), "what becomes of an event that still cannot be handled: park, stop or skip")
	flags.IntVar(&f.retries, "retries", -1, "how often a failing event is tried again, after 100ms, 200ms and so on up to a minute; 0: not at all; negative: 19 times, and 5 with --on-failure stop")
	flags.DurationVar(&f.handlerTimeout, "handler-timeout", rouse.DefaultHandlerTimeout, "how long one batch may take; negative: no limit")
	flags.DurationVar(&f.leaseTTL, "lease-ttl", rouse.DefaultLeaseTTL, "how long a worker that is frozen or cut off keeps its partitions")
	flags.DurationVar(&f.idleInterval, "idle-interval", 0, "how often to ask anything while there is nothing to do, for databases that sleep when nobody asks; 0: every 2s, and every 12s with --total-workers")
	flags.DurationVar(&f.stopTimeout, "stop-timeout", rouse.DefaultStopTimeout, "how long to wait for the batch in hand when stopping; negative: for ever")
	f.http.register(flags, "", "the dashboard, /metrics, /healthz and /readyz")
	flags.BoolVar(&f.http.pprof, "pprof", false, "serve profiles at /debug/pprof/ too, where --http is on this machine only")
	untilEOFFlag(flags, &f.untilEOF)
	fromEnv(flags, "projection", "ROUSE_PROJECTION")
	fromEnv(flags, "worker-id", "WORKER_ID")
	fromEnv(flags, "total-workers", "TOTAL_WORKERS")
	fromEnv(flags, "partitions", "ROUSE_PARTITIONS")
	fromEnv(flags, "max-partitions", "ROUSE_MAX_PARTITIONS")
	fromEnv(flags, "concurrency", "ROUSE_CONCURRENCY")
	fromEnv(flags, "lease-ttl", "ROUSE_LEASE_TTL")
	fromEnv(flags, "idle-interval", "ROUSE_IDLE_INTERVAL")
	fromEnv(flags, "batch-size", "ROUSE_BATCH_SIZE")
	fromEnv(flags, "batch-bytes", "ROUSE_BATCH_BYTES")
	fromEnv(flags, "batch-time", "ROUSE_BATCH_TIME")
	fromEnv(flags, "poll-only", "ROUSE_POLL_ONLY")
	fromEnv(flags, "sync-commit", "ROUSE_SYNC_COMMIT")
	fromEnv(flags, "listen-url", "ROUSE_LISTEN_URL")
	fromEnv(flags, "handler-timeout", "ROUSE_HANDLER_TIMEOUT")
	fromEnv(flags, "on-failure", "ROUSE_ON_FAILURE")
	fromEnv(flags, "retries", "ROUSE_RETRIES")
	fromEnv(flags, "stop-timeout", "ROUSE_STOP_TIMEOUT")
}

// workerConfig makes the configuration of a worker, without what it runs; an error is one of usage.
func workerConfig(e *env, f workerFlags) (rouse.Config, error) {
	cfg := rouse.Config{
		Label: f.id, Partitions: f.partitions, BatchSize: f.batch, BatchBytes: f.batchBytes, PollOnly: f.pollOnly, SyncCommit: f.syncCommit,
		MaxPartitions: f.maxPartitions, Concurrency: f.concurrency, LeaseTTL: f.leaseTTL, IdleInterval: f.idleInterval,
		BatchTime: f.batchTime, HandlerTimeout: f.handlerTimeout, StopTimeout: f.stopTimeout, Log: e.log,
		OnFailure: rouse.OnFailure(f.onFailure),
	}
	if f.retries >= 0 {
		cfg.Retry.Tries = max(f.retries+1, f.retries) // the first try is no retry
	}
	if !slices.Contains([]rouse.OnFailure{rouse.Park, rouse.Stop, rouse.Skip}, cfg.OnFailure) {
		return cfg, usagef("--on-failure %q is none of %s, %s, %s", f.onFailure, rouse.Park, rouse.Stop, rouse.Skip)
	}
	switch {
	case f.total < 0:
		return cfg, usagef("--total-workers %d: there is at least one worker (leave it out for shares that follow from who is there)", f.total)
	case f.total > 0 && f.id == "":
		return cfg, usagef("--total-workers %d needs --worker-id or WORKER_ID: a number from 0 to %d, or NAME-N", f.total, f.total-1)
	case f.total > 0:
		index, err := partition.ParseIndex(f.id, f.total)
		if err != nil {
			return cfg, err
		}
		cfg.WorkerIndex, cfg.TotalWorkers = index, f.total
	}
	if cfg.Label == "" {
		cfg.Label = defaultLabel()
	}
	if f.listenURL != "" {
		listen, err := listenConfig(&e.db, f.listenURL, "listen "+cfg.Label)
		if err != nil {
			return cfg, err
		}
		cfg.ListenConn = listen
	}
	return cfg, nil
}

func runWorker(ctx context.Context, e *env, f workerFlags) error {
	names, err := e.program.wanted(f.projections)
	if err != nil {
		return err
	}
	cfg, err := workerConfig(e, f)
	if err != nil {
		return err
	}
	if f.schemas != "" {
		return runGroup(ctx, e, f, names, cfg)
	}
	s, err := openStation(ctx, e, f.http, cfg.Label, func(served bool) int { return e.program.workerConns(cfg, names, served) })
	if err != nil {
		return err
	}
	defer s.close()
	if err := e.program.checkSchema(ctx, s.pool); err != nil {
		return err
	}
	m := metrics.New(s.pool)
	m.Registry().MustRegister(e.buffer.collector())
	cfg.Observer = s.observer(m.Observer)
	of := Work{Pool: s.pool, Schema: e.db.Schema, Label: cfg.Label, Log: e.log, Names: names}
	if err := e.program.complete(ctx, &cfg, of); err != nil {
		return err
	}
	w, err := rouse.New(s.pool, cfg)
	if err != nil {
		return err
	}
	m.Watch(w)
	if s.server != nil {
		d := dashboard.New(dashboard.Config{Pool: s.pool, Token: s.server.token, Log: e.log})
		defer s.server.serve(s.server.ofWorker(e, w, m, d), d.Close)()
	}
	err = runOrDrain(ctx, w, f.once)
	if handled := w.Status().EventsHandled; err == nil || handled > 0 {
		e.log.Info().Str("worker", cfg.Label).Int64("events", handled).Msg("worker stopped")
	}
	return err
}

// manyConns is how many connections a worker of many projections has at least. They take turns.
const manyConns = 10

// workerConns is how large the pool is of a worker that runs the handlers of these names.
func (p *Program) workerConns(cfg rouse.Config, names []string, served bool) int {
	conns := cfg.Concurrency + 2 // the handlers, the reader, and one to spare
	if p.With != nil {
		conns += cfg.Concurrency // for those that use the pool beside their transaction
	}
	unknown := p.With != nil && len(names) == 0
	if len(names) == 0 {
		names = p.names()
	}
	if unknown || len(names) > 1 {
		conns = max(conns, manyConns)
	}
	if served {
		conns++ // for the dashboard
	}
	return conns
}
