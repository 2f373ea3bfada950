package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
)

// CostOptions say how much to measure.
type CostOptions struct {
	Events int     // of each side and round, at least 1
	Rate   float64 // events per second, more than 0
	Rounds int     // of each side, at least 1
}

// CostResult is what one event takes that comes alone, the append itself included.
type CostResult struct {
	Bench  string  `json:"bench"` // cost
	Server Server  `json:"server"`
	Events int     `json:"events"` // of each side and round
	Rate   float64 `json:"rate"`

	// Floor is the loop written by hand on two connections, One the same on a single one, and Rouse a worker with a BatchProjection.
	Floor CostSide `json:"floor"`
	One   CostSide `json:"floor_one_connection"`
	Rouse CostSide `json:"rouse"`
}

// CostSide has medians of the rounds.
type CostSide struct {
	Cost
	Rounds []Cost `json:"rounds"`

	// Lines are the statements of an event by their first lines, of the last round; those of the rest are among them.
	Lines map[string]float64 `json:"statements_by_line"`
}

// Cost is of one event, and of the rest after the last one. What the rest would have taken in the time is subtracted, so a figure that
// is all noise may be below 0. What a system does not tell is 0.
type Cost struct {
	// Statements are those that were executed, with the append, without those that begin and end transactions, which are Ends.
	Statements float64 `json:"statements"`
	Ends       float64 `json:"begin_and_commit"`
	Trips      float64 `json:"round_trips"`

	// Switches are voluntary context switches of this process, the appending goroutine and its pauses included, and ServerSwitches
	// those of all processes of the server.
	Switches       float64 `json:"switches"`
	ServerSwitches float64 `json:"server_switches"`

	Allocations float64 `json:"allocations"` // of this process
	Bytes       float64 `json:"allocated_bytes"`

	// Rest is how many statements were sent in 10 seconds of the rest between two events, those that begin and end transactions included.
	Rest float64 `json:"statements_in_10_s_of_rest"`
}

// meter is what has been used, up to now or in a window.
type meter struct {
	took                   time.Duration
	sent                   sent
	lines                  map[string]int64
	switches, server       float64
	allocations, allocated float64
}

// costSide is a side at work.
type costSide struct {
	of     *CostSide
	start  func(ctx context.Context) (costRun, error)
	append func(ctx context.Context, conn *pgx.Conn, n int) error
	id     string // the aggregate that is counted
}

// costRun is a side that runs.
type costRun struct {
	bell   *bell
	ended  <-chan struct{}
	atRest func(ctx context.Context) error // waits until it has handled everything and sleeps
	stop   func() error
}

// restAtLeast is how long a rest is measured at least: two heartbeats of a worker at rest. In a shorter one, what comes once in a
// while would count for what it is not if it fell into it.
const restAtLeast = 4 * time.Second

// Cost lets each side rest and then gives it events one by one, the sides in turn.
func (b *Bench) Cost(ctx context.Context, o CostOptions) (r CostResult, err error) {
	r = CostResult{Bench: "cost", Server: b.server, Events: o.Events, Rate: o.Rate}
	if err := b.makeFloor(ctx); err != nil {
		return r, err
	}
	if err := b.fill(ctx, floorRows); err != nil {
		return r, err
	}
	sides := b.costSides(&r)
	total := int64(o.Rounds * len(sides))
	b.cfg.Progress(0, total)
	for n := range o.Rounds {
		for i, side := range sides {
			b.round++
			if err := b.costRound(ctx, o, &side); err != nil {
				return r, err
			}
			b.cfg.Progress(int64(n*len(sides)+i+1), total)
		}
	}
	for _, side := range sides {
		side.of.summarize()
	}
	return r, nil
}

// costSides are the sides.
func (b *Bench) costSides(r *CostResult) []costSide {
	floor := func(one bool) func(ctx context.Context) (costRun, error) {
		return func(ctx context.Context) (costRun, error) {
			f, err := b.startFloor(ctx, floorOptions{one: one})
			if err != nil {
				return costRun{}, err
			}
			waits := func(context.Context) error { return nil } // the last event was the last of it
			return costRun{f.handled, f.ended, waits, f.stop}, nil
		}
	}
	appendFloor := func(ctx context.Context, conn *pgx.Conn, _ int) error {
		_, err := conn.Exec(ctx, sqlAppendFloor, floorID)
		return err
	}
	return []costSide{
		{of: &r.Floor, start: floor(false), append: appendFloor, id: floorID},
		{of: &r.One, start: floor(true), append: appendFloor, id: floorID},
		{of: &r.Rouse, start: b.costRouse, id: oursID, append: func(ctx context.Context, conn *pgx.Conn, n int) error {
			_, err := conn.Exec(ctx, sqlAppendEvent, fmt.Sprint(oursID, b.round), n) // an aggregate of this round, whose versions start at 1
			return err
		}},
	}
}

// costRouse starts a worker of its own, whose connections are counted.
func (b *Bench) costRouse(ctx context.Context) (_ costRun, err error) {
	name, err := b.atEnd(ctx)
	if err != nil {
		return costRun{}, err
	}
	pool, err := b.countedPool(ctx, b.wire, poolSize)
	if err != nil {
		return costRun{}, err
	}
	rang := newBell()
	worker, err := b.startOn(ctx, pool, counts{name}, rouse.Observer{Handled: func(string, int, time.Duration) { rang.ring() }})
	if err != nil {
		pool.Close()
		return costRun{}, err
	}
	stop := func() error { defer pool.Close(); return worker.stop() }
	if err := worker.asleep(ctx); err != nil {
		return costRun{}, errors.Join(err, stop())
	}
	return costRun{rang, worker.ended, worker.asleep, stop}, nil
}

// countedPool opens a pool of up to so many connections, whose statements are counted; nil: they are not.
func (b *Bench) countedPool(ctx context.Context, w *wire, conns int32) (*pgxpool.Pool, error) {
	cfg := b.cfg.Connect.Copy()
	cfg.MaxConns = conns
	if w != nil {
		w.on(cfg.ConnConfig)
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// costRound measures one side once.
func (b *Bench) costRound(ctx context.Context, o CostOptions, side *costSide) (err error) {
	b.wire = &wire{}
	defer func() { b.wire = nil }()
	if err := b.exec(ctx, statementTimeout, "delete from bench_counts"); err != nil {
		return err
	}
	run, err := side.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.stop()) }()
	writer, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(writer)
	// The first events meet statements that are not prepared.
	const warm = 20
	if err := side.events(ctx, run, writer, o.Rate, 0, warm); err != nil {
		return err
	}
	busy, err := b.window(ctx, func() error { return side.events(ctx, run, writer, o.Rate, warm, o.Events) })
	if err != nil {
		return err
	}
	// The rest comes last: what is left of the start, however long that takes, is not subtracted from the events.
	if err := pause(ctx, time.Second); err != nil { // what follows an event is no rest
		return err
	}
	if err := run.atRest(ctx); err != nil {
		return err
	}
	rest, err := b.window(ctx, func() error {
		return pause(ctx, max(restAtLeast, time.Duration(float64(o.Events)/o.Rate*float64(time.Second))))
	})
	if err != nil {
		return err
	}
	side.of.add(rest, busy, float64(o.Events))
	counted, err := b.counted(ctx, side.id+"%")
	if err == nil && counted != int64(warm+o.Events) {
		err = fmt.Errorf("%w: of %d events, %d are in the read model of the side %q", ErrUnhandled, warm+o.Events, counted, side.id)
	}
	return err
}

// events appends so many events behind the first ones, and waits for each. What it allocates itself for each is what pgx needs.
func (s *costSide) events(ctx context.Context, run costRun, writer *pgx.Conn, rate float64, behind, events int) error {
	between := time.Duration(float64(time.Second) / rate)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(events)*between+longTimeout)
	defer cancel()
	pause := time.NewTimer(between)
	defer pause.Stop()
	for n := range events {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		run.bell.clear()
		if err := s.append(ctx, writer, behind+n+1); err != nil {
			return err
		}
		select {
		case <-run.bell.rung:
		case <-run.ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("bench: an event was not handled: %w", ctx.Err())
		}
		pause.Reset(between)
	}
	return nil
}

// window runs do and returns what has been used meanwhile, and how long it took. It looks at the server outside of what it counts of
// this process.
func (b *Bench) window(ctx context.Context, do func() error) (used meter, err error) {
	server, err := b.serverSwitches(ctx)
	if err != nil {
		return used, err
	}
	before, began := b.meter(), time.Now()
	if err := do(); err != nil {
		return used, err
	}
	used = b.meter()
	used.took = time.Since(began)
	used.sent = used.sent.minus(before.sent)
	for line, n := range before.lines {
		used.lines[line] -= n
	}
	used.switches -= before.switches
	used.allocations -= before.allocations
	used.allocated -= before.allocated
	used.server, err = b.serverSwitches(ctx)
	used.server -= server
	return used, err
}

// meter reads what this process has used.
func (b *Bench) meter() (m meter) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.sent, m.lines = b.wire.read()
	m.switches, m.allocations, m.allocated = switches(), float64(mem.Mallocs), float64(mem.TotalAlloc)
	return m
}

// add adds a round: what was used in a rest and in a time with events.
func (c *CostSide) add(rest, busy meter, events float64) {
	share := busy.took.Seconds() / rest.took.Seconds()
	per := func(value func(meter) float64) float64 { return (value(busy) - share*value(rest)) / events }
	c.Rounds = append(c.Rounds, Cost{
		Statements:     per(func(m meter) float64 { return float64(m.sent.statements) }),
		Ends:           per(func(m meter) float64 { return float64(m.sent.ends) }),
		Trips:          per(func(m meter) float64 { return float64(m.sent.trips) }),
		Switches:       per(func(m meter) float64 { return m.switches }),
		ServerSwitches: per(func(m meter) float64 { return m.server }),
		Allocations:    per(func(m meter) float64 { return m.allocations }),
		Bytes:          per(func(m meter) float64 { return m.allocated }),
		Rest:           float64(rest.sent.all()) / rest.took.Seconds() * 10,
	})
	c.Lines = map[string]float64{}
	for line, n := range busy.lines {
		if n > 0 {
			c.Lines[line] = float64(n) / events
		}
	}
}

func (c *CostSide) summarize() {
	of := func(value func(Cost) float64) float64 { return Median(c.Rounds, value) }
	c.Cost = Cost{
		Statements: of(func(c Cost) float64 { return c.Statements }), Ends: of(func(c Cost) float64 { return c.Ends }),
		Trips: of(func(c Cost) float64 { return c.Trips }), Switches: of(func(c Cost) float64 { return c.Switches }),
		ServerSwitches: of(func(c Cost) float64 { return c.ServerSwitches }), Allocations: of(func(c Cost) float64 { return c.Allocations }),
		Bytes: of(func(c Cost) float64 { return c.Bytes }), Rest: of(func(c Cost) float64 { return c.Rest }),
	}
}
