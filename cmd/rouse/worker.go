package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/metrics"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/tracing"
)

// workerFlags are the flags of `rouse worker`.
type workerFlags struct {
	projection, id, listenURL   string
	onFailure                   string
	retries                     int
	total, partitions, batch    int
	maxPartitions, concurrency  int
	once, pollOnly, syncCommit  bool
	untilEOF                    bool
	handlerTimeout, stopTimeout time.Duration
	leaseTTL                    time.Duration
	http                        httpFlags
}

func (a *app) workerCommand() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a built-in projection, which counts the events of every aggregate",
		Long: `Worker runs ` + scaling.Name + `, which counts the events of every aggregate in the table
scaling_activity, until SIGINT or SIGTERM. The table is created at the first start. The other
built-in projection is ` + demo.Name + `, which writes a row for every event in the table ` + demo.Name + `.

Several workers share the work: start as many as you like, and each takes its part of the
partitions, gives some up when another one joins, and takes over when one stops or dies.
--worker-id is only the name that a worker is shown under.

With --total-workers 4 the shares are fixed instead: each of the four gets a --worker-id from 0
to 3, as N or NAME-N, and nobody takes over. The two kinds cannot share a projection.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			return untilEOF(ctx, f.untilEOF, func(ctx context.Context) error { return a.worker(ctx, f) })
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.projection, "projection", scaling.Name, "the projection to run: "+scaling.Name+" or "+demo.Name)
	flags.BoolVar(&f.once, "once", false, "handle what is there, and exit")
	flags.StringVar(&f.id, "worker-id", "", "name of this worker, and with --total-workers its number: N or NAME-N")
	flags.IntVar(&f.total, "total-workers", 0, "how many workers there are in all, for fixed shares; 0 or not given: shares follow from who is there")
	flags.IntVar(&f.partitions, "partitions", 0, "partitions of a new projection, a power of two; 0: as the database says, 32 for a new one")
	flags.IntVar(&f.maxPartitions, "max-partitions", 0, "the most partitions that this worker takes; 0: no limit")
	flags.IntVar(&f.concurrency, "concurrency", 1, "how many batches are handled at once, each of partitions of its own")
	flags.IntVar(&f.batch, "batch-size", rouse.DefaultBatchSize, "the most events of one transaction")
	flags.BoolVar(&f.pollOnly, "poll-only", false, "do not listen, read every second or faster")
	flags.BoolVar(&f.syncCommit, "sync-commit", false, "wait for the disk at every commit")
	flags.StringVar(&f.listenURL, "listen-url", "", "direct address for the listening connection, where --database-url leads to a pooler")
	flags.StringVar(&f.onFailure, "on-failure", string(rouse.Park), "what becomes of an event that still cannot be handled: park, stop or skip")
	flags.IntVar(&f.retries, "retries", rouse.DefaultRetries, "how often a failing event is tried again; 0: not at all")
	flags.DurationVar(&f.handlerTimeout, "handler-timeout", rouse.DefaultHandlerTimeout, "how long one batch may take; negative: no limit")
	flags.DurationVar(&f.leaseTTL, "lease-ttl", rouse.DefaultLeaseTTL, "how long a worker that is frozen or cut off keeps its partitions")
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
	fromEnv(flags, "batch-size", "ROUSE_BATCH_SIZE")
	fromEnv(flags, "poll-only", "ROUSE_POLL_ONLY")
	fromEnv(flags, "sync-commit", "ROUSE_SYNC_COMMIT")
	fromEnv(flags, "listen-url", "ROUSE_LISTEN_URL")
	fromEnv(flags, "handler-timeout", "ROUSE_HANDLER_TIMEOUT")
	fromEnv(flags, "on-failure", "ROUSE_ON_FAILURE")
	fromEnv(flags, "retries", "ROUSE_RETRIES")
	fromEnv(flags, "stop-timeout", "ROUSE_STOP_TIMEOUT")
	return cmd
}

// builtIn are the projections of this program, by name: how each is made for the label of a worker, and its table.
var builtIn = map[string]struct {
	make   func(label string) rouse.Projection
	ensure func(ctx context.Context, pool *pgxpool.Pool) error
}{
	scaling.Name: {func(label string) rouse.Projection { return scaling.Projection{Label: label} }, scaling.Ensure},
	demo.Name:    {func(label string) rouse.Projection { return demo.Projection{Label: label} }, demo.Ensure},
}

// config makes the worker's configuration; an error is one of usage.
func (a *app) config(f workerFlags) (rouse.Config, error) {
	cfg := rouse.Config{
		Label: f.id, Partitions: f.partitions, BatchSize: f.batch, PollOnly: f.pollOnly, SyncCommit: f.syncCommit,
		MaxPartitions: f.maxPartitions, Concurrency: f.concurrency, LeaseTTL: f.leaseTTL,
		HandlerTimeout: f.handlerTimeout, StopTimeout: f.stopTimeout, Log: a.log,
		OnFailure: rouse.OnFailure(f.onFailure), Retries: f.retries,
	}
	if f.retries <= 0 {
		cfg.Retries = -1 // 0 means the default there
	}
	if !slices.Contains([]rouse.OnFailure{rouse.Park, rouse.Stop, rouse.Skip}, cfg.OnFailure) {
		return cfg, usagef("--on-failure %q is none of %s, %s, %s", f.onFailure, rouse.Park, rouse.Stop, rouse.Skip)
	}
	if _, known := builtIn[f.projection]; !known {
		return cfg, usagef("there is no projection %q in this program, only %s and %s (your own projections run in your own program, see package rouse)",
			f.projection, scaling.Name, demo.Name)
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
		host, _ := os.Hostname()
		cfg.Label = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if f.listenURL != "" {
		listen, err := a.listenConfig(f.listenURL, "rouse listen "+cfg.Label)
		if err != nil {
			return cfg, err
		}
		cfg.ListenConn = listen
	}
	cfg.Projections = []rouse.Projection{builtIn[f.projection].make(cfg.Label)}
	return cfg, nil
}

func (a *app) worker(ctx context.Context, f workerFlags) error {
	cfg, err := a.config(f)
	if err != nil {
		return err
	}
	server, err := a.listenHTTP(ctx, f.http)
	if err != nil {
		return err
	}
	if server != nil {
		defer func() { _ = server.listener.Close() }() // if it does not come to serving
	}
	spans, stopSpans, err := a.tracer(ctx)
	if err != nil {
		return err
	}
	defer stopSpans()
	if spans != nil {
		a.tracePool = func(cfg *pgxpool.Config) { tracing.Pool(cfg, spans) }
	}
	conns := cfg.Concurrency + 2 // the handlers, the reader, and one to spare
	if server != nil {
		conns++ // for the dashboard
	}
	pool, err := a.pool(ctx, "rouse worker "+cfg.Label, conns)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	if err := builtIn[f.projection].ensure(ctx, pool); err != nil {
		return err
	}
	m := metrics.New(pool)
	if server != nil {
		cfg.Observer = m.Observer()
	}
	if spans != nil {
		cfg.Observer = tracing.Observe(cfg.Observer, spans)
	}
	w, err := rouse.New(pool, cfg)
	if err != nil {
		return err
	}
	m.Watch(w)
	if server != nil {
		d := dashboard.New(dashboard.Config{Pool: pool, Token: server.token, Log: a.log})
		defer server.serve(server.ofWorker(w, m, d), d.Close)()
	}
	if f.once {
		err = w.Drain(ctx)
	} else {
		err = ignoreEnd(ctx, w.Run(ctx))
	}
	if handled := w.Status().EventsHandled; err == nil || handled > 0 {
		a.log.Info().Str("worker", cfg.Label).Int64("events", handled).Msg("worker stopped")
	}
	return err
}

// isStop tells whether a context ended because the process was asked to stop.
func isStop(cause error) bool {
	var stop *signal.Error
	return errors.As(cause, &stop) || errors.Is(cause, errInputEnded)
}
