package compare

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/bench"
)

// ErrUnhandled means that a side did not handle what it must, so that its numbers are no result.
var ErrUnhandled = errors.New("compare: not every event was handled, so nothing is measured")

// Options say how much to measure.
type Options struct {
	Address string        // of an empty database on a server of the benchmark's own
	Rounds  int           // of everything, at least 1
	Events  int64         // of the history that is worked through without a handler, at least 1
	Idle    int           // how many of the rounds have that part, at least 1 and at most Rounds
	Upserts int64         // of the history that is counted, at least 1 and at most Events
	Timed   int           // events of each side and round that are timed one by one
	Pause   time.Duration // between two of these
	Writers int           // that append at once
	Length  time.Duration // for so long
	Tuning  Tuning
	River   RiverTuning
	Log     func(line string) // told of what is done; must not be nil

	settle time.Duration // how long a worker that has caught up gets until it is measured; 0: settleFor
}

// Result has a row for each side.
type Result struct {
	Bench   string       `json:"bench"` // compare
	Server  bench.Server `json:"server"`
	Options struct {
		Rounds  int     `json:"rounds"`
		Events  int64   `json:"events"`
		Idle    int     `json:"catchup_rounds"`
		Upserts int64   `json:"upserts"`
		Timed   int     `json:"timed"`
		PauseMS float64 `json:"pause_ms"`
		Writers int     `json:"writers"`
		Seconds float64 `json:"seconds"`
		Tuning  Tuning  `json:"tuning"`

		River RiverTuning `json:"river"`
	} `json:"options"`
	Sides []Side `json:"sides"`
}

// Side is what one side did: medians, and percentiles over the events of all rounds.
type Side struct {
	Name    string            `json:"name"`
	Events  int64             `json:"events"` // of the history that it was given
	Idle    float64           `json:"catchup_per_second"`
	Upsert  float64           `json:"upsert_per_second"`
	Latency bench.Percentiles `json:"latency"`
	Append  float64           `json:"append_per_second"`
	DrainMS float64           `json:"drain_ms"` // from the writers' end until everything was handled

	// Lost is how many of the events that the writers appended were never handled, in all rounds.
	Lost     int64 `json:"lost"`
	Appended int64 `json:"appended"`

	Rounds []Round `json:"rounds"`
}

// Round is one round of one side.
type Round struct {
	Idle    float64 `json:"catchup_per_second"`
	Upsert  float64 `json:"upsert_per_second"`
	Append  float64 `json:"append_per_second"`
	DrainMS float64 `json:"drain_ms"`
}

// The names of the sides.
const (
	Rouse     = "rouse"
	Naive     = "naive"
	Watermill = "watermill-sql"
	River     = "river"
)

// contender is a side at work.
type contender struct {
	name string
	side side
	place
	idles int             // how often it has worked through the history without a handler
	took  []time.Duration // by its timed events
	out   Side
}

// Run measures everything, the sides in turn.
func Run(ctx context.Context, o Options) (r Result, err error) {
	conn, err := pgx.Connect(ctx, o.Address)
	if err != nil {
		return r, err
	}
	r.Bench = "compare"
	r.Server, err = bench.Describe(ctx, conn)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return r, err
	}
	r.Options.Rounds, r.Options.Events, r.Options.Upserts, r.Options.Timed = o.Rounds, o.Events, o.Upserts, o.Timed
	r.Options.Idle = min(max(o.Idle, 1), o.Rounds)
	r.Options.PauseMS, r.Options.Writers, r.Options.Seconds = float64(o.Pause.Milliseconds()), o.Writers, o.Length.Seconds()
	r.Options.Tuning, r.Options.River = o.Tuning, o.River
	contenders, err := contend(ctx, o)
	defer func() {
		for _, c := range contenders {
			c.pool.Close()
		}
	}()
	if err != nil {
		return r, err
	}
	for _, part := range []func(context.Context, Options, *contender, *Round) error{catchUp, latency, keepUp} {
		for n := range o.Rounds {
			for _, c := range contenders {
				if len(c.out.Rounds) <= n {
					c.out.Rounds = append(c.out.Rounds, Round{})
				}
				if err := part(ctx, o, c, &c.out.Rounds[n]); err != nil {
					return r, fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
	}
	for _, c := range contenders {
		r.Sides = append(r.Sides, c.summary())
	}
	return r, nil
}

// contend makes the sides, each with its history.
func contend(ctx context.Context, o Options) (all []*contender, err error) {
	for _, s := range []struct {
		name string
		side func(p place) side
	}{
		{Rouse, func(p place) side { return &rouseSide{place: p} }},
		{Naive, func(p place) side { return naive{p} }},
		{Watermill, func(p place) side { return &watermillSide{place: p, tuning: o.Tuning} }},
		{River, func(p place) side { return &riverSide{place: p, tuning: o.River} }},
	} {
		p, err := newPlace(ctx, o.Address, s.name)
		if err != nil {
			return all, err
		}
		c := &contender{name: s.name, side: s.side(p), place: p, out: Side{Name: s.name}}
		all = append(all, c)
		if err := c.side.create(ctx); err != nil {
			return all, err
		}
		o.Log("filling the log of " + s.name)
		c.out.Events = c.atMost(o.Events)
		if err := c.side.fill(ctx, c.out.Events); err != nil {
			return all, err
		}
	}
	return all, nil
}

// atMost is so many events, or as many as the side is given.
func (c *contender) atMost(events int64) int64 {
	if limit := c.side.limit(); limit > 0 {
		return min(events, limit)
	}
	return events
}

// catchUp works through the history twice: without a handler, and with one, which is stopped after Upserts.
func catchUp(ctx context.Context, o Options, c *contender, r *Round) (err error) {
	if c.idles < max(o.Idle, 1) {
		c.idles++
		if r.Idle, err = c.through(ctx, o, true, c.out.Events); err != nil {
			return err
		}
	}
	if err := c.exec(ctx, "truncate counts"); err != nil {
		return err
	}
	upserts := c.atMost(o.Upserts)
	if r.Upsert, err = c.through(ctx, o, false, upserts); err != nil {
		return err
	}
	counted, err := c.counted(ctx)
	if err == nil && counted < upserts {
		return fmt.Errorf("%w: %d of %d are in the read model", ErrUnhandled, counted, upserts)
	}
	return err
}

// through runs a worker from the beginning until it has committed so many events, and returns its rate: from its start, with
// connections and whatever else it needs, to that commit.
func (c *contender) through(ctx context.Context, o Options, idle bool, events int64) (float64, error) {
	if err := c.side.rewind(ctx); err != nil {
		return 0, err
	}
	if err := c.exec(ctx, "checkpoint"); err != nil {
		return 0, err
	}
	var committed atomic.Int64
	there := make(chan struct{}, 1) // one is enough
	began := time.Now()
	w, err := c.side.start(ctx, idle, func(n int) {
		if committed.Add(int64(n)) >= events {
			select {
			case there <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return 0, err
	}
	limit := time.NewTimer(longTimeout)
	defer limit.Stop()
	select {
	case <-there:
	case <-w.ended:
		return 0, w.fault()
	case <-limit.C:
		err = fmt.Errorf("%w: %d of %d within %s", ErrUnhandled, committed.Load(), events, longTimeout)
	}
	rate := bench.PerSecond(committed.Load(), time.Since(began))
	if err = errors.Join(err, w.stop()); err != nil {
		return 0, err
	}
	o.Log(fmt.Sprintf("%s: catching up, idle %t: %.0f/s", c.name, idle, rate))
	return rate, nil
}

// summary takes the medians.
func (c *contender) summary() Side {
	s := c.out
	s.Idle = bench.Median(s.Rounds[:c.idles], func(r Round) float64 { return r.Idle })
	s.Upsert = bench.Median(s.Rounds, func(r Round) float64 { return r.Upsert })
	s.Append = bench.Median(s.Rounds, func(r Round) float64 { return r.Append })
	s.DrainMS = bench.Median(s.Rounds, func(r Round) float64 { return r.DrainMS })
	s.Latency = bench.PercentilesOf(c.took)
	return s
}
