package rouse

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/await"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/projector"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// minPlaces is how many connections of the pool the projections of a worker use at once at least for what is short.
const minPlaces = 4

// Worker runs projections. It runs once; its methods may be called by many goroutines.
//
// Goroutines of a running worker:
//
//	projector one per projection: claims, handles, saves; work waits for it
//	feed      one per projection that owns partitions: reads ahead; its projector's session waits for it
//	source    one: reads the end of the log for all feeds; the last feed to leave waits for it
//	lanes     Concurrency - 1 per projection, during a batch; apply.Applier waits for them
//	handler   one per call of a handler; the lane waits for it, up to 2 s beyond the end of its context
//	listener  one, with one more for its probes (none with PollOnly); Run waits for it
//	stir      one, which tells control of wakes (none with PollOnly); Run waits for it
//	control   two: one sends heartbeats and watches the other members, one asks the pool where it leads to; Run waits for both
//	shadows   one, which runs the shadows of its projections; work waits for it, and it for them
//	announce  one, until every projection has started; Run waits for it
//
// Run waits for all of them but a handler that ignores the end of its context: such a handler is abandoned, and with
// ErrStopTimeout so is its projector. In a Group, the goroutines that keep the two connections are the group's.
type Worker struct {
	pool *pgxpool.Pool // the caller's; never closed here
	cfg  Config
	log  zerolog.Logger
	process

	units []unit // one per projection and effect; fixed by New

	pushesMissed atomic.Int64 // how often a poll found what the push had not told of; the next heartbeat tells

	running atomic.Bool   // set by Run, for good
	started chan struct{} // closed by announce
	ended   chan struct{} // closed by Run when it returns; the projectors and reach wait for it

	reading  func()        // called before every read of the end of the log, set by tests that stop it; nil: nothing
	pauses   apply.Pauses  // of the breakers, set by tests that shorten them; zero: the defaults
	patience time.Duration // how long failures that others may be the cause of do not count, set by tests; 0: the default

	// Written by prepare, read by any goroutine that has seen ready closed.
	ready      chan struct{}      // closed by prepare once the fields below are set; Status, Health and reach wait for it
	db         *db.Pool           // the pool, and the schema that was found
	direct     *db.Dialer         // opens the listening and the control connection; nil in a group, which has them
	listener   *listener.Listener // nil with PollOnly
	control    *partition.Control
	source     *catchup.Source
	census     *projector.Census
	joint      *apply.Joint            // nil: there is one projection
	asked      map[string]*await.Asked // what waiters wait for, by key of the projection
	projectors []*projector.Projector
	shadows    *shadows
}

// New returns a Worker that reads and writes through pool, which it does not close. All projections share the pool, however many
// they are: each takes a connection for as long as it handles a batch, one for each of its handlers that run, and waits for its
// turn where none is free. One connection is enough to go on. Give it Concurrency + 2, so that reading and looking need not wait
// for the handlers of one projection, and as many as should handle at once where there are many; with fewer than
// Concurrency + 2 Run logs a warning. A handler that queries the pool beside its transaction is the one danger: it holds one
// connection and waits for another, so the pool needs one more than there are such handlers at once, or they all wait for each
// other until their time is up. Two connections are opened beside the pool: the listening connection, unless PollOnly, and the
// control connection. New returns an error that wraps ErrConfig if cfg cannot work; it does not connect.
func New(pool *pgxpool.Pool, cfg Config) (*Worker, error) { return newWorker(pool, cfg, newProcess()) }

// newWorker is New for a worker of a process.
func newWorker(pool *pgxpool.Pool, cfg Config, of process) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		pool: pool, cfg: cfg, process: of,
		started: make(chan struct{}), ended: make(chan struct{}), ready: make(chan struct{}),
	}
	w.log = cfg.Log.With().Str(keyWorker, cfg.Label).Str(keyInstance, w.short()).Logger()
	strangers := &unknown{log: w.log, observed: cfg.Observer.Unknown}
	w.units = units(cfg, strangers.tell)
	return w, nil
}

// Keys of log fields.
const (
	keyProjection = "projection"
	keyWorker     = "worker"
	keyInstance   = "instance"
)

// Started returns a channel that is closed once every projection has claimed its partitions for the first time.
func (w *Worker) Started() <-chan struct{} { return w.started }

// Run works until ctx is cancelled, and then returns nil once the batch in hand is finished and the partitions are
// given up: at most StopTimeout later, or ErrStopTimeout. Before it starts it checks the database and returns an error
// if that cannot work (the sentinels of packages migrations, catchup and partition), or if the control connection is refused
// for a reason that only a person can mend: password, role, name of the database, a missing right, or another database than
// the pool's (partition.ErrElsewhere). A start that waits for
// anything else says in the log what for. After that it survives every failure of the database. A projection that has to stop, with a StoppedError, leaves the others running; Run returns its error when
// all have stopped or ctx is cancelled.
func (w *Worker) Run(ctx context.Context) error {
	if w.running.Swap(true) {
		return ErrRunning
	}
	defer close(w.ended)
	if err := w.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	workCtx, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()

	var beside sync.WaitGroup
	besideCtx, stopBeside := context.WithCancel(workCtx)
	defer stopBeside()
	beside.Go(func() { w.announce(besideCtx) })
	if w.listener != nil {
		beside.Go(func() { w.listener.Run(besideCtx) })
		beside.Go(func() { w.stir(besideCtx) })
	}
	beside.Go(func() { w.control.Run(besideCtx) })

	err := w.join(ctx)
	if err == nil {
		err = w.work(ctx, workCtx, cancelWork)
	}
	for _, p := range w.projectors {
		p.Release(ctx) // once more, for a handler that did not come back
	}
	stopBeside()
	beside.Wait()
	return err
}

// prepare returns an error for a database that cannot work, and makes the parts of the worker for one that can.
func (w *Worker) prepare(ctx context.Context) error {
	log, err := w.check(ctx)
	if err != nil {
		return err
	}
	w.makeParts(log)
	if err := w.census.Ensure(ctx, log, w.projectors); err != nil {
		return db.NameSync(ctx, w.db, err)
	}
	w.shadows = newShadows(w, log)
	if err := w.shadows.begin(ctx); err != nil {
		return err
	}
	close(w.ready)
	return nil
}

// check returns an error for a database that cannot work, and the log of one that can. It sets the pool of the parts.
func (w *Worker) check(ctx context.Context) (log catchup.Log, err error) {
	if err := w.checkSettings(ctx); err != nil {
		return log, err
	}
	named := db.In(w.pool, w.cfg.Schema)
	if err := migrations.Check(ctx, named); err != nil {
		return log, err
	}
	if err := migrations.CheckRights(ctx, named); err != nil {
		return log, err
	}
	if log, err = catchup.Open(ctx, named); err != nil {
		return log, err
	}
	w.db = &db.Pool{Pool: w.pool, Schema: log.Schema, Leads: w.cfg.Schema != ""}
	if len(w.units) > 1 && !w.group {
		w.db.Gate = db.NewGate(max(minPlaces, 2*runtime.GOMAXPROCS(0), w.cfg.Concurrency+2))
	}
	if !w.group { // whose workers wait for each other by design
		w.checkPool()
	}
	return log, w.probeEngine(ctx, log)
}

// makeParts makes the parts of the worker, none of which has asked the database yet.
func (w *Worker) makeParts(log catchup.Log) {
	if !w.group {
		w.direct = db.Beside(w.pool, w.cfg.ListenConn)
	}
	w.control = w.newControl(log)
	w.asked = map[string]*await.Asked{}
	for _, u := range w.units {
		w.asked[await.Key(u.name)] = await.NewAsked(log.Events, u.name)
	}
	if !w.cfg.PollOnly {
		w.listener = w.newListener(log)
	}
	w.source = w.newSource(log)
	w.census = projector.NewCensus(w.db, w.cfg.Partitions)
	if len(w.units) > 1 {
		w.joint = apply.NewJoint(w.db, w.presence, !w.cfg.SyncCommit)
	}
	for _, u := range w.units {
		w.projectors = append(w.projectors, projector.New(w.projectorConfig(log, u)))
	}
}

// newSource makes what reads the log for all projections. The control and the listener are there.
func (w *Worker) newSource(log catchup.Log) *catchup.Source {
	hooks := w.cfg.Observer.sourceHooks()
	hooks.Reading, hooks.Stirred = w.reading, w.control.Stir
	hooks.PushMissed = func() {
		w.pushesMissed.Add(1)
		if w.cfg.Observer.PushMissed != nil {
			w.cfg.Observer.PushMissed()
		}
	}
	size, most := w.cfg.batchSizes()
	return catchup.NewSource(catchup.SourceConfig{
		Pool: w.db, BatchSize: size, MostBatch: most, BatchBytes: w.cfg.BatchBytes, Listener: w.listener, Members: w.control.Members,
		IdleInterval: w.cfg.IdleInterval, Hooks: hooks, Log: w.log,
	})
}

// probeEngine judges the engine, unless another worker of the process has done so: it is the same for all logs of a database.
func (w *Worker) probeEngine(ctx context.Context, log catchup.Log) error {
	select {
	case w.engine <- struct{}{}:
	case <-w.probed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.engine }()
	select {
	case <-w.probed:
		return nil
	default:
	}
	held, err := catchup.Probe(ctx, w.db, log, 1)
	switch {
	case err != nil:
		return err
	case held == 0:
		w.log.Debug().Msg("the pool gives one connection, so the engine was not probed")
	default:
		close(w.probed)
	}
	return nil
}

// checkPool says that the pool is smaller than it should be: beside the handlers of one projection, one connection reads the log
// and one serves what is asked now and then, such as the probes of the push. However small it is, the worker goes on: it never
// waits for a connection while it holds one, so one is enough for it. A handler that queries the pool beside its transaction does.
func (w *Worker) checkPool() {
	if has, wants := int(w.pool.Config().MaxConns), w.cfg.Concurrency+2; has < wants {
		w.log.Warn().Int("connections", has).Int("wanted", wants).
			Msg("the pool has fewer connections than one projection uses, so reading and handling wait for each other")
	}
}

// checkSettings refuses what role, database or address have set where a worker can do nothing about it. Everything else its
// transactions set for themselves.
func (w *Worker) checkSettings(ctx context.Context) error {
	if w.pool.Config().ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
		return nil
	}
	conn, err := db.Acquire(ctx, w.pool)
	if err != nil {
		return fmt.Errorf("rouse: connect: %w", err)
	}
	defer conn.Release()
	for setting, needed := range map[string]string{"client_encoding": "UTF8", "standard_conforming_strings": "on"} {
		if is := conn.Conn().PgConn().ParameterStatus(setting); is != needed {
			return fmt.Errorf("%w: the simple protocol needs %s = %s, and role, database or address set %s (add %s=%s to the address of the database)",
				ErrConfig, setting, needed, is, setting, needed)
		}
	}
	return nil
}

// projectorConfig returns that of the projector of u, with the configuration of the worker in its terms.
func (w *Worker) projectorConfig(log catchup.Log, u unit) projector.Config {
	size, most := w.cfg.batchSizes()
	return projector.Config{
		Process: projector.Process{
			Pool: w.db, Log: log, Source: w.source, Control: w.control, Census: w.census, Joint: w.joint, Projections: len(w.units), Instance: w.instance, Presence: w.presence,
			Index: w.cfg.WorkerIndex, Total: w.cfg.TotalWorkers, Ended: w.ended,
		},
		Name: u.name, Partitions: w.cfg.Partitions, BatchSize: size, MostBatch: most, Concurrency: w.cfg.Concurrency,
		Start: u.start, Unsaid: u.unsaid, Asked: w.asked[await.Key(u.name)], Handler: u.handler, Types: u.types, Reset: u.reset,
		Role: projector.Role{Version: u.version}, Pauses: w.pauses, Patience: w.patience,
		Hooks: w.cfg.Observer.hooks(u.name), Logger: w.log.With().Str(keyProjection, u.name).Logger(),
	}
}

// newControl returns the Control for log, which Run runs.
func (w *Worker) newControl(log catchup.Log) *partition.Control {
	cfg := partition.ControlConfig{
		Session: w.session, Dialer: w.direct, Schema: log.Schema, Presence: w.presence, TTL: w.cfg.LeaseTTL, Static: w.cfg.static(), IdleInterval: w.cfg.IdleInterval,
		Row: w.newMember().row, Place: w.place, Log: w.log,
		Busy:    func() bool { return slices.ContainsFunc(w.taking(), (*projector.Projector).Busy) },
		Settled: func() bool { return !slices.ContainsFunc(w.taking(), unsettled) },
	}
	if !w.cfg.PollOnly {
		cfg.Told = func() bool { return w.listener.State().Proven }
	}
	if w.cfg.IdleInterval > 0 {
		cfg.Head = func(position int64) { w.source.Check(position) }
	}
	return partition.NewControl(cfg)
}

// unsettled reports whether a projection does not own what it should.
func unsettled(p *projector.Projector) bool { return !p.Settled() }

// stir passes the wakes of appends on to the control, also while no projection owns a partition and reads. Run waits for it.
func (w *Worker) stir(ctx context.Context) {
	wake, unsubscribe := w.listener.Subscribe()
	defer unsubscribe()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake.C:
			if wake.Source() == catchup.WakePush {
				w.control.Stir()
			}
		}
	}
}

// place returns the partition.Place of the pool, for which it creates the token if there is none; anew: of connections that are
// made for it. While the control connection does not stand, nothing else asks the pool, which may hold connections to a server
// that the name has left.
func (w *Worker) place(ctx context.Context, anew bool) (string, error) {
	if anew {
		w.db.Reset()
	}
	place, err := partition.Place(ctx, w.db)
	if !errors.Is(err, pgx.ErrNoRows) {
		w.db.Leave(err)
		return place, err
	}
	if _, err := catchup.CurrentToken(ctx, w.db); err != nil {
		w.db.Leave(err)
		return "", err
	}
	return partition.Place(ctx, w.db)
}

// newListener returns the listener for log, which Run starts.
func (w *Worker) newListener(log catchup.Log) *listener.Listener {
	var shared *listener.Connection
	if w.group {
		shared = w.listening()
	}
	return listener.New(listener.Config{
		Connection: shared, Dialer: w.direct, Pool: w.pool, Events: log.Events, Sequence: log.Sequence,
		Instance: w.instance, Presence: w.presence, Log: w.log,
		ProbeInterval: w.cfg.IdleInterval, Members: w.control.Members, OnMembers: w.control.Look,
		OnAsk: w.hearAsk, AsksChannel: await.AsksChannel(log.Events),
		OnMode: func(mode listener.Mode) {
			if !w.control.IsAwake() {
				w.control.Beat() // which shows the mode; the next one may be a long way off
			}
			if w.cfg.Observer.Mode != nil {
				w.cfg.Observer.Mode(string(mode))
			}
		},
	})
}

// hearAsk passes what a waiter waits for on to the projection, if it is one of this worker.
func (w *Worker) hearAsk(payload string) {
	if asked := w.asked[await.KeyOf(payload)]; asked != nil {
		asked.Hear(payload)
	}
}

// work runs the projectors until all have ended. Once ctx is cancelled it waits for StopTimeout, then cancels workCtx,
// waits one more second, and returns an error that wraps ErrStopTimeout.
func (w *Worker) work(ctx, workCtx context.Context, cancelWork context.CancelFunc) error {
	results := make(chan error, len(w.projectors))
	for _, p := range w.projectors {
		// Owned by work, which takes one result from each. results has room for all, so a projector that work no longer
		// waits for never blocks.
		go func() { results <- stoppedError(p.Name(), p.Run(ctx, workCtx)) }()
	}

	shadowCtx, stopShadows := context.WithCancel(ctx)
	defer stopShadows()
	shadows := make(chan struct{})
	go func() { defer close(shadows); w.shadows.run(shadowCtx, workCtx) }()

	var errs []error
	var limit, grace <-chan time.Time
	stop := ctx.Done()
	for left := len(w.projectors); left > 0 || shadows != nil; {
		if left == 0 {
			stopShadows()
		}
		select {
		case <-shadows:
			shadows = nil
		case err := <-results:
			errs = append(errs, err)
			left--
		case <-stop:
			stop = nil
			w.control.Leave()
			if w.cfg.StopTimeout > 0 {
				limit = time.After(w.cfg.StopTimeout)
			}
		case <-limit:
			cancelWork() // the handlers' contexts; their transactions roll back
			limit, grace = nil, time.After(time.Second)
		case <-grace:
			return errors.Join(append(errs, ErrStopTimeout)...)
		}
	}
	cancelWork()
	return errors.Join(errs...)
}

// announce closes started once every projector has claimed. It returns early if ctx is cancelled.
func (w *Worker) announce(ctx context.Context) {
	for _, p := range w.projectors {
		select {
		case <-p.Started():
		case <-ctx.Done():
			return
		}
	}
	close(w.started)
}
