package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
)

// IdleOptions say how much to measure.
type IdleOptions struct {
	Workers int           // that run and have nothing to do, at least 1
	Static  bool          // their shares are fixed by number
	Length  time.Duration // for so long
	Appends int           // with nobody and then with one worker asleep, at least 1
}

// IdleResult is what workers ask of the server while nothing happens, and what appends tell them.
type IdleResult struct {
	Bench   string  `json:"bench"` // idle
	Server  Server  `json:"server"`
	Workers int     `json:"workers"`
	Static  bool    `json:"static"`
	Seconds float64 `json:"seconds"`

	// EventPath, Watch, Ownership, Heartbeat and Probe are statements in 10 seconds and worker, as the workers' connections sent
	// them, those that begin and end transactions included. EventPath is all that is none of the others, and EventTrips the
	// round trips that it took.
	EventPath  float64 `json:"event_path"`
	EventTrips float64 `json:"event_path_round_trips"`
	Ownership  float64 `json:"ownership"`
	Watch      float64 `json:"watch"`
	Heartbeat  float64 `json:"heartbeat"`
	Probe      float64 `json:"probe"`

	// EventStatements are the statements of EventPath, by their first lines.
	EventStatements map[string]int `json:"event_statements"`

	// Sent is how many statements all workers together sent in a second, whatever for, begin and commit included, as they were on the
	// wire, and Connections how many they had in the end.
	Sent        float64 `json:"statements_per_second_of_all"`
	Connections int64   `json:"connections"`

	// Transactions are those that the server counted in the database, in 10 seconds and worker: a check of the above.
	Transactions float64 `json:"transactions"`

	// Appends is how many events were appended, each in a transaction of its own, with no worker running and, again, with one
	// asleep after each; Unslept and Slept are how many notifications the push trigger sent.
	Appends int `json:"appends"`
	Unslept int `json:"notified_nobody_asleep"`
	Slept   int `json:"notified_one_asleep"`
}

// idleName is how the connections of the workers call themselves.
const idleName = "rouse bench idle"

// Idle lets workers sleep for a while and counts what they send.
func (b *Bench) Idle(ctx context.Context, o IdleOptions) (r IdleResult, err error) {
	r = IdleResult{Bench: "idle", Server: b.server, Workers: o.Workers, Static: o.Static, Seconds: o.Length.Seconds(), Appends: o.Appends}
	total := int64(o.Length/time.Second) + 2
	b.cfg.Progress(0, total)
	if r.Unslept, err = b.notified(ctx, o.Appends, nil); err != nil {
		return r, err
	}
	b.cfg.Progress(1, total)
	if err := b.idleWorkers(ctx, o, &r, total); err != nil {
		return r, err
	}
	sleeper, err := b.start(ctx, counts{"bench_idle"}, rouse.Observer{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sleeper.stop()) }()
	if r.Slept, err = b.notified(ctx, o.Appends, sleeper.asleep); err != nil {
		return r, err
	}
	b.cfg.Progress(total, total)
	if r.Slept == 0 {
		return r, fmt.Errorf("%w: a worker slept and was told of none of %d appends", ErrUnhandled, o.Appends)
	}
	if err := sleeper.Drain(ctx); err != nil {
		return r, err
	}
	handled, err := b.counted(ctx, "%")
	if err == nil && handled != int64(2*o.Appends) {
		err = fmt.Errorf("%w: of %d events, %d are in the read model", ErrUnhandled, 2*o.Appends, handled)
	}
	return r, err
}

// idleWorkers runs the workers, with connections that count.
func (b *Bench) idleWorkers(ctx context.Context, o IdleOptions, r *IdleResult, total int64) (err error) {
	t, w := &counting{}, &wire{}
	cfg := b.cfg.Connect.Copy()
	cfg.ConnConfig.Tracer = t
	cfg.ConnConfig.RuntimeParams["application_name"] = idleName
	w.on(cfg.ConnConfig)
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
	for i := range o.Workers {
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return err
		}
		pools = append(pools, pool)
		work := rouse.Config{Projections: []rouse.Projection{counts{"bench_idle"}}}
		if o.Static {
			work.WorkerIndex, work.TotalWorkers = i, o.Workers
		}
		worker, err := b.startWith(ctx, pool, work)
		if err != nil {
			return err
		}
		workers = append(workers, worker)
	}
	for _, w := range workers {
		if err := w.asleep(ctx); err != nil {
			return err
		}
	}
	return b.idleCount(ctx, o, r, t, w, total)
}

// idleCount counts what workers that sleep send.
func (b *Bench) idleCount(ctx context.Context, o IdleOptions, r *IdleResult, t *counting, w *wire, total int64) error {
	if err := pause(ctx, o.Length/2); err != nil { // they look more often at first
		return err
	}
	before, err := b.transactions(ctx)
	if err != nil {
		return err
	}
	began, _ := w.read() // before what the tracer sees, which is to be less
	t.reset()
	for n := range int64(o.Length / time.Second) {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		b.cfg.Progress(n+2, total)
	}
	kinds, events := t.read()
	over, _ := w.read()
	r.Sent = float64(over.minus(began).all()) / o.Length.Seconds()
	if r.Connections, err = b.connections(ctx, idleName); err != nil {
		return err
	}
	after, err := b.transactions(ctx)
	if err != nil {
		return err
	}
	per := func(n int64) float64 { return float64(n) / float64(o.Workers) / o.Length.Seconds() * 10 }
	r.EventPath, r.EventTrips, r.Ownership = per(kinds[eventPath]), per(kinds[eventTrip]), per(kinds[ownership])
	r.Watch, r.Heartbeat, r.Probe = per(kinds[watch]), per(kinds[heartbeat]), per(kinds[probe])
	r.EventStatements = events
	r.Transactions = per(after - before)
	return nil
}

// transactions is how many the server has counted in this database. It lags behind by a second, at both ends.
func (b *Bench) transactions(ctx context.Context) (int64, error) {
	return b.number(ctx, "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()")
}

// notified appends events and returns how many notifications the push trigger sent. asleep, if not nil, is waited for before
// each of them.
func (b *Bench) notified(ctx context.Context, appends int, asleep func(context.Context) error) (n int, err error) {
	b.round++
	conn, err := b.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(conn)
	table, err := b.number(ctx, "select 'events'::regclass::oid::bigint")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	channel := fmt.Sprint("rouse_", table)
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return 0, err
	}
	for i := range appends {
		if asleep != nil {
			if err := asleep(ctx); err != nil {
				return 0, err
			}
		}
		if _, err := b.pool.Exec(ctx, sqlAppendEvent, fmt.Sprint("idle", b.round), i+1); err != nil {
			return 0, err
		}
	}
	// Notifications come in the order of commits: after this one there are no more.
	const barrier = "no more"
	if _, err := b.pool.Exec(ctx, "select pg_notify($1, $2)", channel, barrier); err != nil {
		return 0, err
	}
	for {
		note, err := conn.WaitForNotification(ctx)
		switch {
		case err != nil:
			return 0, err
		case note.Payload == barrier:
			return n, nil
		case note.Payload == "": // a probe has a number
			n++
		}
	}
}

// pause sleeps.
func pause(ctx context.Context, d time.Duration) error { return until(ctx, time.Now().Add(d)) }

// The kinds of statements of an idle worker.
const (
	eventPath = iota
	watch
	heartbeat
	probe
	ownership
	eventTrip // a round trip of the event path
	statementKinds
)

// counting counts statements, on all connections that have it as their tracer.
type counting struct {
	mu     sync.Mutex // protects the fields below
	kinds  [statementKinds]int64
	events map[string]int
}

// count counts the statements of one round trip. They are of one kind: what begins and ends a transaction is there for the
// others.
func (c *counting) count(statements ...string) {
	kind := eventPath
	for _, sql := range statements {
		if k := kindOf(sql); k != eventPath {
			kind = k
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[kind] += int64(len(statements))
	if kind != eventPath {
		return
	}
	c.kinds[eventTrip]++
	for _, sql := range statements {
		if c.events == nil {
			c.events = map[string]int{}
		}
		line, _, _ := strings.Cut(strings.TrimSpace(sql), "\n")
		c.events[line]++
	}
}

// named finds the schema that the worker's statements name.
var named = regexp.MustCompile(`"[^"]+"\.`)

// kindOf returns the kind of a statement by itself.
func kindOf(sql string) int {
	switch sql = named.ReplaceAllString(sql, ""); {
	case strings.Contains(sql, "insert into projection_workers"):
		return heartbeat
	case strings.Contains(sql, "pg_notification_queue_usage"):
		return probe
	case strings.Contains(sql, "from rouse_members where alive"), strings.Contains(sql, "from pg_locks") && strings.Contains(sql, "1919907152"):
		return watch
	case ownershipOf(sql):
		return ownership
	default:
		return eventPath
	}
}

// ownershipOf reports whether a statement asks who is there and who owns what: those of package partition.
func ownershipOf(sql string) bool {
	return strings.Contains(sql, "rouse_members") || strings.Contains(sql, "projection_checkpoints") && !strings.Contains(sql, "update") ||
		strings.Contains(sql, "from projections")
}

func (c *counting) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds, c.events = [statementKinds]int64{}, nil
}

func (c *counting) read() ([statementKinds]int64, map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kinds, maps.Clone(c.events)
}

// TraceQueryStart counts a statement.
func (c *counting) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c.count(d.SQL)
	return ctx
}

// TraceQueryEnd does nothing.
func (*counting) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart counts the statements of a batch.
func (c *counting) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	var statements []string
	for _, q := range d.Batch.QueuedQueries {
		statements = append(statements, q.SQL)
	}
	c.count(statements...)
	return ctx
}

// TraceBatchQuery does nothing.
func (*counting) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd does nothing.
func (*counting) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}
