package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/tenants"
	"github.com/rouse-es/rouse/migrations"
)

const (
	// tenantPool is the size of the pool that all workers of a group share.
	tenantPool = 10

	// tenantsName is how the connections of the group call themselves, apartName those of the workers beside it.
	tenantsName = "rouse bench tenants"
	apartName   = "rouse bench apart"

	// tenantWarm is how often each schema has an event before appends are timed: one connection after the other gets to know its tables
	// and statements, which are the last three that were used.
	tenantWarm = 2

	// tenantPause is between two appends, so that the workers sleep.
	tenantPause = 40 * time.Millisecond

	// tenantCalm is how long workers are left alone at most before their rest is measured: their pauses grow that long.
	tenantCalm = 40 * time.Second

	// tenantStart bounds the start of all workers, and tenantWithin the handling of one event.
	tenantStart  = 5 * time.Minute
	tenantWithin = time.Minute
)

// TenantsOptions say how much to measure.
type TenantsOptions struct {
	Schemas int           // of the group, at least 1
	Length  time.Duration // of the rest
	Appends int           // that are timed of each side, after those that warm it up, at least 1
	Apart   int           // workers without a group that are measured at rest in the same way; 0: none
}

// TenantsResult is what the workers of many schemas take while nothing happens, and how long an append takes to be handled.
type TenantsResult struct {
	Bench   string  `json:"bench"` // tenants
	Server  Server  `json:"server"`
	Schemas int     `json:"schemas"`
	Seconds float64 `json:"seconds"` // of the rest

	// Group are the workers of all schemas in a group, Apart workers of their own for some schemas of the same kind, each with a pool.
	Group Rest  `json:"group"`
	Apart *Rest `json:"apart,omitempty"`

	// Burst is how long it took until one append to each schema, all at once, was handled, in seconds, and BurstConnections
	// how many connections the group had then.
	Burst            float64 `json:"burst_seconds"`
	BurstConnections int64   `json:"burst_connections"`

	// First has the times from the first append to each schema to its effect, one append at a time: connections of the group, and that
	// of the appends, meet the tables of a schema for the first time.
	First Percentiles `json:"first"`

	// One has the times from an append to its effect in a worker that runs alone for its schema, Spread those in the group, each append
	// to another schema. They took turns, one append at a time, and an append itself is part of the time. Each schema has had events
	// before, that of the worker alone as many.
	Appends int         `json:"appends"` // of each
	One     Percentiles `json:"one"`
	Spread  Percentiles `json:"spread"`
	Ratio   Ratio       `json:"ratio"`
}

// Rest is what workers take while nothing happens.
type Rest struct {
	Workers int `json:"workers"`

	// Start is how long it took until all had claimed their partitions, in seconds.
	Start float64 `json:"start_seconds"`

	// Connections is how many the server had, Transactions how many it counted in a second, and Statements how many were sent, those
	// that begin and end transactions included.
	Connections  int64   `json:"connections"`
	Transactions float64 `json:"transactions_per_second"`
	Statements   float64 `json:"statements_per_second"`

	// Kinds are the Statements by what they are for.
	Kinds map[string]float64 `json:"statements_by_kind"`

	// Heap is the memory that the workers hold, in bytes, and Goroutines how many they run.
	Heap       int64 `json:"heap_bytes"`
	Goroutines int   `json:"goroutines"`
}

// kindNames are the keys of Rest.Kinds.
var kindNames = map[int]string{eventPath: "event path", watch: "watch", heartbeat: "heartbeat", probe: "probe", ownership: "ownership"}

// Tenants measures a group.
func (b *Bench) Tenants(ctx context.Context, o TenantsOptions) (r TenantsResult, err error) {
	r = TenantsResult{Bench: "tenants", Server: b.server, Schemas: o.Schemas, Seconds: o.Length.Seconds(), Appends: o.Appends}
	lone := o.Schemas + o.Apart // the last schema is that of the worker alone
	total := int64(lone+1) + int64(2*(tenantWarm*o.Schemas+o.Appends))
	schemas := make([]string, lone+1)
	for i := range schemas {
		schemas[i] = fmt.Sprintf("%s_%03d", b.schema, i)
	}
	defer func() { err = errors.Join(err, b.dropTenants(schemas)) }()
	if err := b.makeTenants(ctx, schemas, total); err != nil {
		return r, err
	}
	if o.Apart > 0 {
		if r.Apart, err = b.apart(ctx, o, schemas[o.Schemas:lone]); err != nil {
			return r, err
		}
	}
	before := footprintNow()
	pool, t, err := b.tenantPool(ctx, tenantsName)
	if err != nil {
		return r, err
	}
	defer pool.Close()
	ears := newEars(schemas)
	began := time.Now()
	g, stop, err := b.startGroup(ctx, pool, schemas[:o.Schemas], ears)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	r.Group = Rest{Workers: o.Schemas, Start: time.Since(began).Seconds()}
	if err := b.rest(ctx, o, &r.Group, tenantsName, t, before, func() error { return groupAsleep(ctx, g) }); err != nil {
		return r, err
	}
	if r.First, err = b.first(ctx, schemas[:o.Schemas], ears); err != nil {
		return r, err
	}
	if r.Burst, r.BurstConnections, err = b.burst(ctx, schemas[:o.Schemas], ears); err != nil {
		return r, err
	}
	err = b.spread(ctx, o, &r, schemas, ears, func(n int) { b.cfg.Progress(int64(lone+1+n), total) })
	return r, err
}

// startGroup runs the workers of schemas until all have started. stop ends them and returns what went wrong.
func (b *Bench) startGroup(ctx context.Context, pool *pgxpool.Pool, schemas []string, ears *ears) (g *rouse.Group, stop func() error, err error) {
	g, err = rouse.NewGroup(pool, rouse.GroupConfig{
		Schemas: func(context.Context) ([]string, error) { return schemas, nil },
		Worker:  func(_ context.Context, schema string) (rouse.Config, error) { return ears.config(schema), nil },
		Label:   "bench", Log: b.cfg.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- g.Run(ctx) }()
	stop = func() error { cancel(); return <-ran }
	select {
	case <-g.Started():
		return g, stop, nil
	case err := <-ran:
		err = errors.Join(err, ctx.Err()) // without a fault of its own it ends with ctx alone
		cancel()
		return nil, nil, err
	case <-ctx.Done():
		return nil, nil, errors.Join(ctx.Err(), stop())
	}
}

// makeTenants makes the schemas and reports each as one of total steps.
func (b *Bench) makeTenants(ctx context.Context, schemas []string, total int64) error {
	for i, schema := range schemas {
		if err := b.makeTenant(ctx, schema); err != nil {
			return err
		}
		b.cfg.Progress(int64(i+1), total)
	}
	return nil
}

// makeTenant makes a schema with a log and a read model.
func (b *Bench) makeTenant(ctx context.Context, schema string) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	name := pgx.Identifier{schema}.Sanitize()
	if err := b.script(ctx, conn, "create schema "+name+"; set search_path = "+name); err != nil {
		return err
	}
	if _, err := migrations.Up(ctx, conn); err != nil {
		return err
	}
	return b.script(ctx, conn, sqlCreate)
}

// dropTenants drops schemas, one at a time, because each has many tables to lock.
func (b *Bench) dropTenants(schemas []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	defer cancel()
	var errs []error
	for _, schema := range schemas {
		_, err := b.pool.Exec(ctx, "drop schema if exists "+pgx.Identifier{schema}.Sanitize()+" cascade")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tenantPool opens a pool as `rouse worker --schemas` does, whose statements are counted.
func (b *Bench) tenantPool(ctx context.Context, name string) (*pgxpool.Pool, *counting, error) {
	t := &counting{}
	cfg := b.cfg.Connect.Copy()
	cfg.MaxConns, cfg.MinConns = tenantPool, 0
	tenants.KeepStatements(cfg)
	cfg.ConnConfig.Tracer = t
	cfg.ConnConfig.RuntimeParams["application_name"] = name
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	return pool, t, err
}

// footprint is what a process takes.
type footprint struct {
	heap       int64
	goroutines int
}

// footprintNow returns what this process takes now.
func footprintNow() footprint {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return footprint{heap: int64(m.HeapAlloc), goroutines: runtime.NumGoroutine()}
}

// rest waits until workers sleep, and measures what they take then.
func (b *Bench) rest(ctx context.Context, o TenantsOptions, r *Rest, name string, t *counting, before footprint, asleep func() error) error {
	if err := asleep(); err != nil {
		return err
	}
	if err := pause(ctx, min(2*o.Length, tenantCalm)); err != nil { // they look more often at first
		return err
	}
	transactions, err := b.transactions(ctx)
	if err != nil {
		return err
	}
	t.reset()
	if err := pause(ctx, o.Length); err != nil {
		return err
	}
	kinds, _ := t.read()
	after, err := b.transactions(ctx)
	if err != nil {
		return err
	}
	r.Transactions, r.Kinds = float64(after-transactions)/o.Length.Seconds(), map[string]float64{}
	for kind, name := range kindNames {
		r.Kinds[name] = float64(kinds[kind]) / o.Length.Seconds()
		r.Statements += r.Kinds[name]
	}
	now := footprintNow()
	r.Heap, r.Goroutines = now.heap-before.heap, now.goroutines-before.goroutines
	r.Connections, err = b.connections(ctx, name)
	return err
}

// connections returns how many connections call themselves so, or begin with that.
func (b *Bench) connections(ctx context.Context, name string) (int64, error) {
	return b.number(ctx, "select count(*) from pg_stat_activity where datname = current_database() and starts_with(application_name, $1)", name)
}

// apart measures workers of their own at rest.
func (b *Bench) apart(ctx context.Context, o TenantsOptions, schemas []string) (_ *Rest, err error) {
	before := footprintNow()
	r := &Rest{Workers: len(schemas)}
	t := &counting{}
	var workers []*running
	var pools []*pgxpool.Pool
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.stop())
		}
		for _, pool := range pools {
			pool.Close()
		}
	}()
	began := time.Now()
	for _, schema := range schemas {
		cfg := b.cfg.Connect.Copy()
		cfg.MaxConns, cfg.ConnConfig.Tracer = 4, t
		cfg.ConnConfig.RuntimeParams["application_name"] = apartName
		cfg.ConnConfig.RuntimeParams["search_path"] = schema
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return nil, err
		}
		pools = append(pools, pool)
		w, err := b.startOn(ctx, pool, counts{"bench_tenants"}, rouse.Observer{})
		if err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	r.Start = time.Since(began).Seconds()
	return r, b.rest(ctx, o, r, apartName, t, before, func() error {
		for _, w := range workers {
			if err := w.asleep(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// groupAsleep waits until all workers of a group sleep until they are pushed.
func groupAsleep(ctx context.Context, g *rouse.Group) error {
	ctx, cancel := context.WithTimeout(ctx, tenantStart)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		awake := ""
		for schema, s := range g.Status().Schemas {
			switch {
			case s.Err != nil:
				return fmt.Errorf("bench: schema %s: %w", schema, s.Err)
			case s.Worker.Mode != "quiet":
				awake = schema + " is " + s.Worker.Mode
			}
		}
		if awake == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("bench: the workers do not fall asleep, %s: %w", awake, ctx.Err())
		}
	}
}

// first times one append to each schema after the other.
func (b *Bench) first(ctx context.Context, schemas []string, ears *ears) (Percentiles, error) {
	times := make([]time.Duration, 0, len(schemas))
	for _, schema := range schemas {
		took, err := b.handling(ctx, schema, ears)
		if err != nil {
			return Percentiles{}, err
		}
		times = append(times, took)
	}
	return PercentilesOf(times), nil
}

// handling appends to a schema whose worker sleeps, and returns how long it took until that was handled.
func (b *Bench) handling(ctx context.Context, schema string, ears *ears) (time.Duration, error) {
	if err := pause(ctx, tenantPause); err != nil {
		return 0, err
	}
	began := time.Now()
	at, err := b.appendTenant(ctx, schema)
	if err == nil {
		err = ears.hear(ctx, schema, at)
	}
	return time.Since(began), err
}

// burst appends to all schemas at once and waits until everything is handled.
func (b *Bench) burst(ctx context.Context, schemas []string, ears *ears) (seconds float64, connections int64, err error) {
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(schemas))
	slots := make(chan struct{}, poolSize/2)
	for i, schema := range schemas {
		wg.Go(func() {
			slots <- struct{}{}
			at, err := b.appendTenant(ctx, schema)
			<-slots
			if errs[i] = err; err == nil {
				errs[i] = ears.hear(ctx, schema, at)
			}
		})
	}
	wg.Wait()
	seconds = time.Since(began).Seconds()
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	connections, err = b.connections(ctx, tenantsName)
	return seconds, connections, err
}

// spread times appends to a worker alone and to the group, in turns.
func (b *Bench) spread(ctx context.Context, o TenantsOptions, r *TenantsResult, schemas []string, ears *ears, progress func(n int)) (err error) {
	lone := schemas[len(schemas)-1]
	pool, _, err := b.tenantPool(ctx, apartName)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg := ears.config(lone)
	cfg.Schema, cfg.Label, cfg.Log = lone, "bench", b.cfg.Log
	w, err := rouse.New(pool, cfg)
	if err != nil {
		return err
	}
	alone, err := run(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, alone.stop()) }()
	if err := alone.asleep(ctx); err != nil {
		return err
	}
	var one, spread []time.Duration
	turns := rand.Perm(o.Schemas) // each has its turn as often as the others
	warm := tenantWarm * o.Schemas
	for n := range warm + o.Appends {
		for _, side := range []struct {
			schema string
			times  *[]time.Duration
		}{{lone, &one}, {schemas[turns[n%o.Schemas]], &spread}} {
			took, err := b.handling(ctx, side.schema, ears)
			if err != nil {
				return err
			}
			if n >= warm {
				*side.times = append(*side.times, took)
			}
		}
		progress(2 * (n + 1))
	}
	r.One, r.Spread = PercentilesOf(one), PercentilesOf(spread)
	r.Ratio = r.Spread.Over(r.One)
	return nil
}

// appendTenant appends one event to the log of a schema, in a transaction of its own, and returns its position. It is one round trip,
// and prepares nothing.
func (b *Bench) appendTenant(ctx context.Context, schema string) (position int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	sql := "insert into " + pgx.Identifier{schema, "events"}.Sanitize() + ` (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
values ('account', $1, 1, 'MoneyDeposited', '{"amount": 1250, "currency": "EUR", "reference": "a standing order"}') returning global_position`
	err = b.pool.QueryRow(ctx, sql, pgx.QueryExecModeExec, eventstore.NewID().String()).Scan(&position)
	return position, err
}

// ears hear of what workers commit.
type ears struct{ heard map[string]chan int64 }

func newEars(schemas []string) *ears {
	e := &ears{heard: map[string]chan int64{}}
	for _, schema := range schemas {
		e.heard[schema] = make(chan int64, 1000) // more than are ever not waited for
	}
	return e
}

// config is that of the worker of a schema.
func (e *ears) config(schema string) rouse.Config {
	heard := e.heard[schema]
	return rouse.Config{
		Projections: []rouse.Projection{counts{"bench_tenants"}},
		Observer: rouse.Observer{Committed: func(_ string, events []eventstore.Event) {
			if len(events) == 0 {
				return
			}
			select {
			case heard <- events[len(events)-1].GlobalPosition:
			default:
			}
		}},
	}
}

// hear waits until a schema's event at a position is handled. Each event is waited for.
func (e *ears) hear(ctx context.Context, schema string, position int64) error {
	ctx, cancel := context.WithTimeout(ctx, tenantWithin)
	defer cancel()
	for {
		select {
		case at := <-e.heard[schema]:
			if at >= position {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: position %d of schema %s", ErrUnhandled, position, schema)
		}
	}
}
