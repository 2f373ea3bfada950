package rouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/internal/tenants"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/partition"
)

// DefaultFindInterval is the default of GroupConfig.FindInterval.
const DefaultFindInterval = 10 * time.Second

const (
	// maxStarts is how many workers of a group start at once at most, whatever the size of the pool.
	maxStarts = 16

	// configTimeout bounds one call of GroupConfig.Worker.
	configTimeout = 30 * time.Second

	// startSlot is how long a worker that starts keeps others from starting. One that waits for something, such as a lock on a
	// table of its schema, goes on without.
	startSlot = 5 * time.Second
)

// GroupConfig configures a Group. Schemas and Worker are required; the zero value of every other field selects its default.
type GroupConfig struct {
	// Schemas returns the schemas that have a log each. It is called at the start, every FindInterval, after each call of Refresh, and
	// when a worker of a schema has ended, one call at a time. A schema that is new in the list gets a worker, one that is no longer in
	// it loses its worker. After an error everything stays as it is. SchemasLike finds them by their names; a program that keeps a
	// table of its tenants may ask that.
	Schemas func(ctx context.Context) ([]string, error)

	// Worker returns the configuration of the worker of a schema. It is called before each start of that worker, by several goroutines
	// at once. It may ask the database, and make the tables of a read model; ctx ends after 30 s, or with the schema. The Group sets
	// Schema, Log and ListenConn, and Label where it is empty. After an error the schema has no worker until a later try.
	Worker func(ctx context.Context, schema string) (Config, error)

	// FindInterval is how often Schemas is called at least. Default: 10 s.
	FindInterval time.Duration

	// Label names this process for people, as Config.Label does. Default: host name and process id.
	Label string

	// ListenConn is that of Config, for all workers.
	ListenConn func(ctx context.Context) (*pgx.ConnConfig, error)

	// Log receives the messages for an operator, those of workers with their schema. The zero value is silent.
	Log zerolog.Logger
}

// Group runs a Worker for each of many schemas of one database: many logs, for example one for each tenant. It runs once; its
// methods may be called by many goroutines.
//
// The workers share the pool, whose size bounds how many of them work at once, one listening and one control connection, and an
// instance id. Each log has its own
// positions, projections and partitions: nothing is in order across logs. Several processes that run the same group share the
// partitions of each schema, as workers do.
//
// A worker that cannot run leaves the others alone: its schema has no tables or is gone, a right is missing, its configuration is
// refused, or all of its projections are stopped. The log says so once, Status and Health show it, and it is started again after a
// pause of 1 s, which grows to a minute.
//
// Goroutines of a running group:
//
//	tenant    one per schema: starts the worker of the schema, again and again; Run waits for it
//	worker    those of each Worker, but listener and control; the tenant waits for them
//	control   one: the heartbeats of all workers; Run waits for it
//	listener  one, with one more for its probes, once a worker wants to be pushed; Run waits for it
//	announce  one, until every schema of the first look has started or failed; Run waits for it
type Group struct {
	pool    *pgxpool.Pool // the caller's; never closed here
	cfg     GroupConfig
	log     zerolog.Logger
	process process
	starts  chan struct{} // has an element for each worker that is starting; Run's tenants put it there

	running atomic.Bool                         // set by Run, for good
	started chan struct{}                       // closed by Run's goroutine once every schema of the first look has started or failed
	ended   chan struct{}                       // closed by Run when it returns
	refresh chan struct{}                       // sent by Refresh: look for schemas now; buffered to 1, one is enough for all calls
	looked  atomic.Int64                        // when Schemas last succeeded, in Unix nanoseconds
	ears    atomic.Pointer[listener.Connection] // the listening connection; nil: nobody has asked for it

	mu       sync.Mutex // protects the fields below
	tenants  map[string]*tenant
	stopErrs []error // of workers that did not stop in order
	turn     int     // of the next Health: where it goes on to ask logs
}

// NewGroup returns a Group whose workers read and write through pool, which it does not close. Ten connections serve hundreds of
// schemas that are mostly at rest. It returns an error that wraps ErrConfig if cfg cannot work; it does not connect.
func NewGroup(pool *pgxpool.Pool, cfg GroupConfig) (*Group, error) {
	var faults []string
	if cfg.Schemas == nil {
		faults = append(faults, "there are no Schemas (set it to SchemasLike, for example)")
	}
	if cfg.Worker == nil {
		faults = append(faults, "there is no Worker, which configures the worker of a schema")
	}
	if cfg.FindInterval < 0 {
		faults = append(faults, fmt.Sprintf("FindInterval %s is negative", cfg.FindInterval))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrConfig, strings.Join(faults, "; "))
	}
	if cfg.FindInterval == 0 {
		cfg.FindInterval = DefaultFindInterval
	}
	if cfg.Label == "" {
		cfg.Label = defaultLabel()
	}
	g := &Group{
		pool: pool, cfg: cfg, process: newProcess(), tenants: map[string]*tenant{},
		started: make(chan struct{}), ended: make(chan struct{}), refresh: make(chan struct{}, 1),
	}
	g.process.group = true
	g.log = cfg.Log.With().Str(keyWorker, cfg.Label).Str(keyInstance, g.process.short()).Logger()
	return g, nil
}

// defaultLabel returns the host name and the process id.
func defaultLabel() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// process is what the workers of one process have in common.
type process struct {
	instance string // the id of this run of the process
	presence int32  // the key of the presence lock, by which other workers see that this one lives

	engine chan struct{} // has an element while a worker probes the engine, which puts it there
	probed chan struct{} // closed by the worker that has found the engine good

	// Of a group, and else zero: the worker is one of it, and has its connections.
	group     bool
	session   *partition.Session          // the control connection
	listening func() *listener.Connection // the listening connection, which the first call opens
}

// newProcess returns a process with an id and a key of its own.
func newProcess() process {
	return process{
		instance: eventstore.NewID().String(), presence: randid.Key(), engine: make(chan struct{}, 1), probed: make(chan struct{}),
	}
}

// short returns the end of the instance id, by which people tell instances apart.
func (p process) short() string { return p.instance[len(p.instance)-8:] }

// SchemasLike returns a function for GroupConfig.Schemas that finds the schemas of the database of pool by their names. Each
// pattern is a name, or one in which * stands for any text and ? for one character. A name counts whether there is such a schema
// or not: it is shown as broken until there is. The schemas of PostgreSQL itself match no pattern. A pattern that is empty, not
// UTF-8, or has a double quote or a zero byte is an error of the function.
func SchemasLike(pool *pgxpool.Pool, patterns ...string) func(ctx context.Context) ([]string, error) {
	of, err := tenants.Of(patterns...)
	return func(ctx context.Context) ([]string, error) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		return of.Find(ctx, pool)
	}
}

// Started returns a channel that is closed once the worker of every schema that was found at first has claimed its partitions, or
// has failed to start.
func (g *Group) Started() <-chan struct{} { return g.started }

// Refresh makes the Group look for new schemas now. It does not wait.
func (g *Group) Refresh() {
	select {
	case g.refresh <- struct{}{}:
	default:
	}
}

// Run works until ctx is cancelled, and then returns nil once all workers have ended: each as Worker.Run says, all at the same time.
// The error wraps ErrStopTimeout if a handler did not return. Run returns an error at once if Schemas fails the first time; later
// failures leave everything as it is, and are logged.
func (g *Group) Run(ctx context.Context) error {
	if g.running.Swap(true) {
		return ErrRunning
	}
	defer close(g.ended)
	schemas, err := g.cfg.Schemas(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return fmt.Errorf("rouse: look for the schemas of the group: %w", err)
	}
	stopBeside := g.connect(ctx)
	defer stopBeside()
	g.starts = make(chan struct{}, min(maxStarts, max(1, int(g.pool.Config().MaxConns))))
	var announced sync.WaitGroup
	defer announced.Wait()
	g.adopt(ctx, schemas)
	first := g.list()
	announced.Go(func() { g.announce(ctx, first) })
	g.log.Info().Int("schemas", len(first)).Msg("the group has found its schemas")
	g.follow(ctx)
	return g.stop()
}

// connect starts what keeps the control connection, and what will keep the listening connection once a worker asks for it. stop ends
// both and waits for them.
func (g *Group) connect(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the workers take their leave on it
	var beside sync.WaitGroup
	dialer := db.Beside(g.pool, g.cfg.ListenConn)
	g.process.session = partition.NewSession(partition.SessionConfig{Dialer: dialer, Presence: g.process.presence, Log: g.log})
	beside.Go(func() { g.process.session.Run(ctx) })
	g.process.listening = sync.OnceValue(func() *listener.Connection {
		ears := listener.NewConnection(listener.ConnectionConfig{
			Dialer: dialer, Pool: g.pool, Instance: g.process.instance, Presence: g.process.presence, Log: g.log,
		})
		g.ears.Store(ears)
		beside.Go(func() { ears.Run(ctx) })
		return ears
	})
	return func() {
		cancel()
		beside.Wait()
	}
}

// announce closes started once every one of tenants has started or failed. It returns early if ctx is cancelled.
func (g *Group) announce(ctx context.Context, tenants []*tenant) {
	for _, t := range tenants {
		select {
		case <-t.first:
		case <-ctx.Done():
			return
		}
	}
	close(g.started)
}

// follow looks for schemas until ctx is cancelled.
func (g *Group) follow(ctx context.Context) {
	tick := time.NewTicker(g.cfg.FindInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.refresh:
		}
		schemas, err := g.cfg.Schemas(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			failing = true
			g.log.Error().Err(err).Msg("cannot look for the schemas of the group: those that are known go on, and no others are found until it can")
		case err == nil:
			if failing {
				g.log.Info().Msg("the schemas of the group can be looked for again")
			}
			failing = false
			g.adopt(ctx, schemas)
		}
	}
}

// adopt starts a tenant for each schema that has none, and ends those whose schema is not among schemas.
func (g *Group) adopt(ctx context.Context, schemas []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looked.Store(time.Now().UnixNano())
	for schema, t := range g.tenants {
		if !slices.Contains(schemas, schema) && !t.leaving {
			t.leaving = true
			t.log.Info().Msg("the schema is no longer one of the group's, its worker stops")
			t.cancel()
		}
	}
	for _, schema := range schemas {
		if g.tenants[schema] == nil { // one that is leaving is started again by the next look, once it has ended
			g.tenants[schema] = g.startTenant(ctx, schema)
		}
	}
}

// startTenant starts the tenant of a schema. The caller holds the mutex.
func (g *Group) startTenant(ctx context.Context, schema string) *tenant {
	t := newTenant(g, schema)
	ctx, t.cancel = context.WithCancel(ctx)
	// Owned by Run: stop waits for ended. A tenant whose schema is gone removes itself.
	go func() {
		defer close(t.ended)
		defer t.cancel()
		t.run(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.stopErr != nil {
			g.stopErrs = append(g.stopErrs, fmt.Errorf("schema %s: %w", schema, t.stopErr))
		}
		if t.leaving {
			delete(g.tenants, schema)
		}
	}()
	return t
}

// list returns the tenants by schema.
func (g *Group) list() []*tenant {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*tenant, 0, len(g.tenants))
	for _, t := range g.tenants {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tenant) int { return strings.Compare(a.schema, b.schema) })
	return all
}

// stop waits for all tenants, whose context has ended, and returns the errors of those that did not stop in order.
func (g *Group) stop() error {
	for _, t := range g.list() {
		<-t.ended
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.stopErrs...)
}

// Drain handles everything that was committed before the call in the schemas that are known, as Worker.Drain does, and returns. A
// group that does not run yet is run for the duration of the call, and then the schemas are those that are found at the start. The
// error names each schema whose worker could not do it; the others have done it.
func (g *Group) Drain(ctx context.Context) error {
	if g.running.Load() {
		return g.reach(ctx)
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	// Drain waits for the goroutine before it returns.
	go func() { ran <- g.Run(runCtx) }()
	select {
	case err := <-ran: // it could not start, or was stopped
		if err == nil {
			err = ctx.Err()
		}
		return err
	case <-g.started:
	}
	err := g.reach(runCtx)
	cancel()
	return errors.Join(err, <-ran)
}

// reach waits until every worker has handled what was visible at the time of the call, as many at once as may start at once.
func (g *Group) reach(ctx context.Context) error {
	all := g.list()
	errs := make([]error, len(all))
	slots := make(chan struct{}, maxStarts)
	var wg sync.WaitGroup
	for i, t := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := t.reach(ctx); err != nil {
				errs[i] = fmt.Errorf("schema %s: %w", t.schema, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
