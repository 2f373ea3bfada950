package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/scaling"
)

const (
	// firstBurst is how many events are appended at once at the beginning, so that there is something to catch up with.
	firstBurst = 1000

	// runAggregates is how many aggregates the events of `rouse run` belong to.
	runAggregates = 200

	// serverTimeout is for starting the embedded server, which may have to be fetched first, and drainTimeout for handling
	// what is left at the end.
	serverTimeout = 10 * time.Minute
	drainTimeout  = time.Minute

	// verdictPatience is how long the verdict waits for a read model that is only late.
	verdictPatience = 5 * time.Second
)

// runFlags are the flags of `rouse run`.
type runFlags struct {
	duration time.Duration
	rate     float64
	keep     bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Try everything at once: a database, events, a worker, and a verdict at the end",
		Long: `Run starts a PostgreSQL server of its own, unless a database is given, creates the schema,
appends events all the time and runs a worker on them, until Ctrl+C or for --duration. At the
end it compares the read model with the log and says what was lost, doubled or out of order.
The server and its data are gone afterwards; in a database that was given, events, read model
and checkpoints stay.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			if f.rate <= 0 {
				return usagef("--rate %g: events per second, more than 0", f.rate)
			}
			return a.run(ctx, f)
		}),
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.duration, "duration", 0, "how long to run, such as 10s; 0: until Ctrl+C")
	flags.Float64Var(&f.rate, "rate", 20, "events per second, after a first burst of 1,000")
	flags.BoolVar(&f.keep, "keep", false, "after --duration, leave the database there to look at until Ctrl+C")
	return cmd
}

func (a *app) run(ctx context.Context, f runFlags) (err error) {
	own := a.databaseURL == ""
	if own {
		server, startErr := a.startServer(ctx)
		if startErr != nil {
			return ignoreEnd(ctx, startErr)
		}
		defer func() {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			err = errors.Join(err, server.Stop(stopCtx))
		}()
	}
	d, err := a.newDemo(ctx, f)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer d.pool.Close()
	if err := d.work(ctx); err != nil {
		return err
	}
	if err := d.judge(context.WithoutCancel(ctx), own); err != nil {
		return err
	}
	if f.keep && ctx.Err() == nil {
		if err := a.note("the database stays until Ctrl+C"); err != nil {
			return err
		}
		<-ctx.Done()
	}
	return nil
}

// startServer starts the embedded server and points the app at a new database on it.
func (a *app) startServer(ctx context.Context) (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Config{Log: a.log})
	if err != nil {
		return nil, err
	}
	if err := server.CreateDatabase(ctx, "rouse"); err != nil {
		return nil, errors.Join(err, server.Stop(context.WithoutCancel(ctx)))
	}
	a.databaseURL = server.URL("rouse") // there is no password in it
	return server, a.note("PostgreSQL %d runs until the end, look around with: psql '%s'", server.Major(), a.databaseURL)
}

// note prints one line for people, and nothing where data is asked for.
func (a *app) note(format string, args ...any) error {
	if a.json {
		return nil
	}
	return a.say(format, args...)
}

// demo is one `rouse run`: an appender and a worker in one process.
type demo struct {
	*app
	flags    runFlags
	pool     *pgxpool.Pool
	appender *appender
	worker   *rouse.Worker
	timed    *timed
	behind   int64 // events that were there and not handled at the start
}

func (a *app) newDemo(ctx context.Context, f runFlags) (*demo, error) {
	done, err := a.up(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.note("the schema is at version %d", done.Version); err != nil {
		return nil, err
	}
	pool, err := a.pool(ctx, "rouse run", 8)
	if err != nil {
		return nil, err
	}
	d := &demo{app: a, flags: f, pool: pool, timed: &timed{}}
	d.appender = &appender{pool: pool, aggregates: runAggregates, writers: 1}
	cfg, err := a.config(workerFlags{projection: scaling.Name})
	if err == nil {
		d.timed.Projection = scaling.Projection{Label: cfg.Label}
		cfg.Projections = []rouse.Projection{d.timed}
		cfg.Observer.Handled = func(string, int, time.Duration) { d.timed.committed() }
		d.worker, err = rouse.New(pool, cfg)
	}
	if err == nil {
		err = scaling.Ensure(ctx, pool)
	}
	var before scaling.Verdict
	if err == nil {
		before, err = scaling.Judge(ctx, pool)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	d.behind = before.Appended - before.Due
	return d, nil
}

// work appends and handles events until ctx is cancelled, the duration is over or something fails, and then handles what is
// left. The worker outlives ctx for that.
func (d *demo) work(ctx context.Context) error {
	if d.flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.flags.duration, errDuration)
		defer cancel()
	}
	ctx, stopAppending := context.WithCancel(ctx)
	defer stopAppending()
	workerCtx, stopWorker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorker()
	drainCtx, stopDrain := context.WithCancel(workerCtx)
	defer stopDrain()
	appender := start(func() error { return d.feed(ctx) })
	worker := start(func() error { defer stopDrain(); return d.worker.Run(workerCtx) })

	err := d.watch(ctx, appender.done, worker.done)
	stopAppending()
	<-appender.done
	if err == nil && appender.err == nil {
		err = d.drain(drainCtx)
	}
	stopWorker()
	<-worker.done
	switch {
	case worker.err != nil:
		return worker.err // and whatever else went wrong followed from it
	case appender.err != nil:
		return appender.err
	}
	return err
}

// drain waits until everything appended is handled, by a worker that runs until then.
func (d *demo) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	select {
	case <-d.worker.Started():
		return d.worker.Drain(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// side is a goroutine beside the one that started it.
type side struct {
	done chan struct{} // closed at its end
	err  error         // how it ended; valid once done is closed
}

func start(do func() error) *side {
	s := &side{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = do()
	}()
	return s
}

// errDuration is why the context of a run with a duration ends.
var errDuration = errors.New("the duration is over")

// feed appends the first burst and then goes on at the rate.
func (d *demo) feed(ctx context.Context) error {
	if err := d.appender.run(ctx, firstBurst); err != nil || ctx.Err() != nil {
		return ignoreEnd(ctx, err)
	}
	d.appender.rate = d.flags.rate
	return ignoreEnd(ctx, d.appender.run(ctx, -1))
}

// ignoreEnd drops an error that only says that ctx has ended.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// second is what is printed every second.
type second struct {
	Second   int      `json:"second"`
	Appended int64    `json:"appended"`
	Handled  int64    `json:"handled"`
	Lag      int64    `json:"lag_events"`
	Mode     string   `json:"mode"`
	P50ms    *float64 `json:"p50_ms"` // from the insert to the commit of the read model, in the last second; nil: no events
}

// watch prints a line every second until ctx is cancelled, or until the appender or the worker has ended by itself.
func (d *demo) watch(ctx context.Context, appended, handled <-chan struct{}) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-appended:
			return nil
		case <-handled:
			return nil
		case <-tick.C:
		}
		status := d.worker.Status()
		s := second{Second: n, Appended: d.appender.appended.Load(), Handled: status.EventsHandled, Mode: status.Mode, P50ms: d.timed.p50()}
		s.Lag = max(d.behind+s.Appended-s.Handled, 0)
		if err := d.printSecond(s); err != nil {
			return err
		}
	}
}

func (d *demo) printSecond(s second) error {
	if d.json {
		return json.NewEncoder(d.out).Encode(s)
	}
	p50 := "-"
	if s.P50ms != nil {
		p50 = fmt.Sprintf("%.1f ms", *s.P50ms)
	}
	return d.say("%4d s  appended %s  handled %s  lag %s  %-8s p50 %s", s.Second, grouped(s.Appended), grouped(s.Handled), grouped(s.Lag), s.Mode, p50)
}

// judge prints the verdict. own tells that nobody else appends to the database, so nothing may be left.
func (d *demo) judge(ctx context.Context, own bool) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	v, err := scaling.Judge(ctx, d.pool)
	for began := time.Now(); err == nil && !v.Complete() && time.Since(began) < verdictPatience; v, err = scaling.Judge(ctx, d.pool) {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		return err
	}
	right := v.Right() && (v.Complete() || !own)
	if err := d.printVerdict(v, right); err != nil {
		return err
	}
	if !right {
		return errVerdict
	}
	return nil
}

func (d *demo) printVerdict(v scaling.Verdict, right bool) error {
	if d.json {
		return json.NewEncoder(d.out).Encode(struct {
			scaling.Verdict
			Right bool `json:"right"`
		}{v, right})
	}
	word := "right"
	if !right {
		word = "WRONG"
	}
	return d.say("verdict: %s: %s events appended, %s counted, %s lost, %s doubled, %s out of order",
		word, grouped(v.Appended), grouped(v.Counted), grouped(v.Lost), grouped(v.Doubled), grouped(v.OutOfOrder))
}
