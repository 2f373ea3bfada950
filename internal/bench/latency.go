package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/migrations"
)

// LatencyOptions say how much to measure.
type LatencyOptions struct {
	// Events is how many events of each side are timed at each step. 0: as many as 20 seconds of the rate have.
	Events int

	// Rates are events per second of each side, at most; each more than 0, and a step of its own.
	Rates []float64

	// Writers append at once. 1 or less: events are timed one by one, and a worker sleeps in between where it is calm. More:
	// the sides take turns by the second and not by the event, and nobody waits until an event is handled.
	Writers int

	// TableRows are how many events the log has before, rising, each a step of its own; 0: none. Default: none.
	TableRows []int64

	// Hold adds to every step one during which a foreign transaction that has written is open.
	Hold bool

	// Carry adds to every step one in which pushes carry the events.
	Carry bool
}

// LatencyResult is the time from an append's acknowledged commit to the acknowledged commit of its effect.
type LatencyResult struct {
	Bench   string        `json:"bench"` // latency
	Server  Server        `json:"server"`
	Writers int           `json:"writers"`
	Steps   []LatencyStep `json:"steps"`

	// FloorRows is how many rows the floor's table had before, all of them known to the planner, so that it is read by its index.
	FloorRows int64 `json:"floor_rows"`
}

// LatencyStep is one rate at one size of the log.
type LatencyStep struct {
	Rate      float64 `json:"rate"`       // that was asked for
	TableRows int64   `json:"table_rows"` // in the log before
	Held      bool    `json:"held"`       // a foreign transaction was open all the time
	Carried   bool    `json:"carried"`    // pushes carried the events
	Events    int     `json:"events"`     // of each side

	// Appended, FloorAppended and AloneAppended are the rates that the writers came to, in events per second: to the log beside a worker,
	// to the floor's table, and to the log beside nobody; 0 where they wait for each event.
	Appended      float64 `json:"appended_per_second,omitempty"`
	FloorAppended float64 `json:"floor_appended_per_second,omitempty"`
	AloneAppended float64 `json:"alone_appended_per_second,omitempty"`

	// Append, FloorAppend and AloneAppend are how long these appends took; nil where the rates are 0.
	Append      *Percentiles `json:"append,omitempty"`
	FloorAppend *Percentiles `json:"floor_append,omitempty"`
	AloneAppend *Percentiles `json:"alone_append,omitempty"`

	// Handled and FloorHandled are how many events the read model has of each side. Of Rouse: all. The floor loses events where
	// writers append at once, because it has none of the promises; only what it handled is timed.
	Handled      int64 `json:"handled"`
	FloorHandled int64 `json:"floor_handled"`

	Rouse Percentiles `json:"rouse"`
	Floor Percentiles `json:"floor"`
	Ratio Ratio       `json:"ratio"` // Rouse over floor
}

// The aggregates of both sides, which share the read model's table.
const (
	oursID  = "rouse"
	floorID = "floor"
)

// defaultLength is how long a step lasts that is not given a number of events.
const defaultLength = 20 * time.Second

// Latency times events. The floor is a loop written by hand that is notified, selects, and commits effect and checkpoint in one
// round trip, without any of the promises. The two take turns.
func (b *Bench) Latency(ctx context.Context, o LatencyOptions) (r LatencyResult, err error) {
	r = LatencyResult{Bench: "latency", Server: b.server, Writers: max(o.Writers, 1)}
	if err := b.makeFloor(ctx); err != nil {
		return r, err
	}
	r.FloorRows = floorRows
	steps := o.steps()
	total := int64(0)
	for _, s := range steps {
		total += int64(s.Events)
	}
	b.cfg.Progress(0, total)
	for _, s := range steps {
		if err := b.latencyStep(ctx, r.Writers, &s, total); err != nil {
			return r, err
		}
		r.Steps = append(r.Steps, s)
	}
	return r, nil
}

// steps are what is measured, one after the other. The log only grows.
func (o LatencyOptions) steps() (all []LatencyStep) {
	rows := o.TableRows
	if len(rows) == 0 {
		rows = []int64{0}
	}
	for _, n := range rows {
		for _, rate := range o.Rates {
			s := LatencyStep{Rate: rate, TableRows: n, Events: o.Events}
			if s.Events == 0 {
				s.Events = max(int(rate*defaultLength.Seconds()), 1)
			}
			all = append(all, s)
			if o.Carry {
				carried := s
				carried.Carried = true
				all = append(all, carried)
			}
			if o.Hold {
				s.Held = true
				all = append(all, s)
			}
		}
	}
	return all
}

// latencyStep measures one step.
func (b *Bench) latencyStep(ctx context.Context, writers int, s *LatencyStep, total int64) (err error) {
	if err := b.grow(ctx, s.TableRows); err != nil {
		return err
	}
	if err := b.exec(ctx, statementTimeout, "delete from bench_counts"); err != nil {
		return err
	}
	if s.Carried {
		if err := b.carry(ctx, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.carry(context.WithoutCancel(ctx), false)) }()
	}
	if s.Held {
		release, err := b.hold(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	if writers > 1 {
		err = b.busy(ctx, writers, s, total)
	} else {
		err = b.oneByOne(ctx, s, total)
	}
	if err != nil {
		return err
	}
	s.Ratio = s.Rouse.Over(s.Floor)
	return nil
}

// grow fills the log up to so many events.
func (b *Bench) grow(ctx context.Context, rows int64) error {
	there, err := b.number(ctx, "select count(*) from events")
	if err != nil || there >= rows {
		return err
	}
	return b.fillFrom(ctx, there, rows)
}

// carry has pushes carry events, or not.
func (b *Bench) carry(ctx context.Context, on bool) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return migrations.Carry(ctx, conn, on, nil)
}

// hold opens a transaction on a connection of its own that has written, and returns what ends it.
func (b *Bench) hold(ctx context.Context) (release func() error, err error) {
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	holdCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	for _, sql := range []string{"create table if not exists foreign_work (n int)", "begin", "insert into foreign_work values (1)"} {
		if _, err := conn.Exec(holdCtx, sql); err != nil {
			closeConn(conn)
			return nil, err
		}
	}
	return func() error {
		defer closeConn(conn)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
		defer cancel()
		_, err := conn.Exec(ctx, "commit") // it fails if the transaction did not live until now
		return err
	}, nil
}

// oneByOne times events one by one, in a log that is calm enough for workers to sleep, in turn event by event.
func (b *Bench) oneByOne(ctx context.Context, s *LatencyStep, total int64) (err error) {
	b.round++
	ours := newBell()
	name, err := b.atEnd(ctx)
	if err != nil {
		return err
	}
	worker, err := b.start(ctx, counts{name}, rouse.Observer{Handled: func(string, int, time.Duration) { ours.ring() }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, worker.stop()) }()
	if err := worker.asleep(ctx); err != nil {
		return err
	}
	floor, err := b.startFloor(ctx, floorOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.stop()) }()
	writer, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(writer)

	oursNow := fmt.Sprint(oursID, b.round) // an aggregate of its own, whose versions start at 1
	turns := []turn{
		{bell: floor.handled, ended: floor.ended, write: func(ctx context.Context, _ int) error {
			_, err := writer.Exec(ctx, sqlAppendFloor, floorID)
			return err
		}},
		{bell: ours, ended: worker.ended, write: func(ctx context.Context, n int) error {
			_, err := writer.Exec(ctx, sqlAppendEvent, oursNow, n)
			return err
		}},
	}
	if err := b.takeTurns(ctx, s, turns, total); err != nil {
		return err
	}
	s.Floor, s.Rouse = PercentilesOf(turns[0].took), PercentilesOf(turns[1].took)
	for id, count := range map[string]*int64{oursNow: &s.Handled, floorID: &s.FloorHandled} {
		if *count, err = b.counted(ctx, id); err != nil {
			return err
		}
		if *count != int64(s.Events) {
			return fmt.Errorf("%w: of %d events, %d are in the read model of the side %q", ErrUnhandled, s.Events, *count, id)
		}
	}
	return nil
}

// benchPartitions is how many partitions a projection has that begins at the end: as many as a new one has by itself.
const benchPartitions = 32

// atEnd makes a projection for this round that begins at the end of the log.
func (b *Bench) atEnd(ctx context.Context) (name string, err error) {
	return b.atEndOf(ctx, benchPartitions)
}

// atEndOf is atEnd with so many partitions.
func (b *Bench) atEndOf(ctx context.Context, partitions int) (name string, err error) {
	name = fmt.Sprint("bench_latency_", b.round)
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	_, err = b.pool.Exec(ctx, sqlBeginAtEnd, name, partitions)
	return name, err
}

// counted is how many events of an aggregate are in the read model; % stands for any further letters.
func (b *Bench) counted(ctx context.Context, like string) (int64, error) {
	return b.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts where aggregate_id like $1", like)
}

// turn is one side.
type turn struct {
	bell  *bell
	ended <-chan struct{}
	write func(ctx context.Context, n int) error
	took  []time.Duration
}

// takeTurns lets each side have one event at a time, at the rate.
func (b *Bench) takeTurns(ctx context.Context, s *LatencyStep, turns []turn, total int64) error {
	pause := time.Duration(float64(time.Second) / s.Rate / float64(len(turns)))
	for n := range s.Events {
		for i := range turns {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			took, err := turns[i].timed(ctx, n+1)
			if err != nil {
				return err
			}
			turns[i].took = append(turns[i].took, took)
		}
		b.timed++
		b.cfg.Progress(b.timed, total)
	}
	return nil
}

func (t turn) timed(ctx context.Context, n int) (time.Duration, error) {
	t.bell.clear()
	writeCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := t.write(writeCtx, n); err != nil {
		return 0, err
	}
	committed := time.Now()
	if err := t.bell.wait(ctx, t.ended); err != nil {
		return 0, err
	}
	// An effect can be committed before the writer has heard of its own commit. That counts as the least there is.
	return max(t.bell.at().Sub(committed), time.Microsecond), nil
}
