package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
)

// PartitionsOptions say how much to measure.
type PartitionsOptions struct {
	Partitions []int   // numbers of partitions, two at least; the others are compared with the first
	Events     int64   // how long the history is, at least 1
	Timed      int     // events of each number and round that are timed at rest, at least 1
	Rate       float64 // of these, per second
	Rounds     int     // of each number, at least 1
}

// PartitionsResult is what the number of partitions costs one worker that owns them all.
type PartitionsResult struct {
	Bench  string          `json:"bench"` // partitions
	Server Server          `json:"server"`
	Events int64           `json:"events"`
	Timed  int             `json:"timed"` // of each number, over all rounds
	Rate   float64         `json:"rate"`
	Rows   []PartitionsRow `json:"rows"`
}

// PartitionsRow has medians. Ratios are medians of the rounds' ratios, to the first row: above 1 is better.
type PartitionsRow struct {
	Partitions int `json:"partitions"`

	// Nothing is a history with a handler that does nothing, and Upsert the same with a row of a read model for each event.
	Nothing      float64 `json:"nothing_events_per_second"`
	NothingRatio float64 `json:"nothing_ratio"`
	Upsert       float64 `json:"upsert_events_per_second"`
	UpsertRatio  float64 `json:"upsert_ratio"`

	// Quiet has the times from append to effect at rest, and QuietRatio is how much shorter the p50 is than that of the first row.
	Quiet      Percentiles `json:"quiet"`
	QuietRatio float64     `json:"quiet_ratio"`

	Rounds []PartitionsRound `json:"rounds"`
}

// PartitionsRound is one round of one number.
type PartitionsRound struct {
	Nothing float64     `json:"nothing_events_per_second"`
	Upsert  float64     `json:"upsert_events_per_second"`
	Quiet   Percentiles `json:"quiet"`
}

// Partitions makes a history and lets a worker work through it with each number of partitions, and then rest, the numbers in turn.
func (b *Bench) Partitions(ctx context.Context, o PartitionsOptions) (r PartitionsResult, err error) {
	r = PartitionsResult{Bench: "partitions", Server: b.server, Events: o.Events, Timed: o.Timed * o.Rounds, Rate: o.Rate}
	total := int64(o.Rounds * len(o.Partitions))
	b.cfg.Progress(0, total)
	if err := b.fill(ctx, o.Events); err != nil {
		return r, err
	}
	for _, n := range o.Partitions {
		r.Rows = append(r.Rows, PartitionsRow{Partitions: n})
	}
	if err := b.turns(o.Rounds, len(r.Rows), total, func(i int) error {
		round, err := b.partitionsRound(ctx, o, r.Rows[i].Partitions)
		if err == nil {
			r.Rows[i].Rounds = append(r.Rows[i].Rounds, round)
		}
		return err
	}); err != nil {
		return r, err
	}
	for i := range r.Rows {
		r.Rows[i].summarize(r.Rows[0].Rounds)
	}
	return r, nil
}

// partitionsRound is one round of one number.
func (b *Bench) partitionsRound(ctx context.Context, o PartitionsOptions, partitions int) (r PartitionsRound, err error) {
	b.round++
	for _, p := range []struct {
		projection rouse.Projection
		rate       *float64
	}{
		{nothing{fmt.Sprint("bench_nothing_", b.round)}, &r.Nothing},
		{counts{fmt.Sprint("bench_upsert_", b.round)}, &r.Upsert},
	} {
		if err := b.exec(ctx, statementTimeout, "truncate bench_counts"); err != nil {
			return r, err
		}
		if err := b.checkpoint(ctx); err != nil {
			return r, err
		}
		began := time.Now()
		w, err := b.startWith(ctx, b.pool, rouse.Config{Projections: []rouse.Projection{p.projection}, Partitions: partitions})
		if err != nil {
			return r, err
		}
		err = w.Drain(ctx)
		took := time.Since(began)
		if err = errors.Join(err, w.stop()); err != nil {
			return r, err
		}
		handled := w.Status().EventsHandled
		if handled < o.Events {
			return r, fmt.Errorf("%w: of %d events, %d", ErrUnhandled, o.Events, handled)
		}
		*p.rate = PerSecond(handled, took)
	}
	r.Quiet, err = b.partitionsQuiet(ctx, o, partitions)
	return r, err
}

// partitionsQuiet times events one by one, in a worker that begins at the end of the log.
func (b *Bench) partitionsQuiet(ctx context.Context, o PartitionsOptions, partitions int) (p Percentiles, err error) {
	name, err := b.atEndOf(ctx, partitions)
	if err != nil {
		return p, err
	}
	rang := newBell()
	w, err := b.startWith(ctx, b.pool, rouse.Config{
		Projections: []rouse.Projection{counts{name}}, Partitions: partitions,
		Observer: rouse.Observer{Handled: func(string, int, time.Duration) { rang.ring() }},
	})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := w.asleep(ctx); err != nil {
		return p, err
	}
	conn, err := b.connect(ctx)
	if err != nil {
		return p, err
	}
	defer closeConn(conn)
	side := turn{bell: rang, ended: w.ended, write: func(ctx context.Context, n int) error {
		// Each event is of another aggregate, and so of another partition.
		_, err := conn.Exec(ctx, sqlAppendEvent, fmt.Sprintf("quiet%d-%d", b.round, n), 1)
		return err
	}}
	var took []time.Duration
	for n := range o.Timed {
		if err := pause(ctx, time.Duration(float64(time.Second)/o.Rate)); err != nil {
			return p, err
		}
		d, err := side.timed(ctx, n+1)
		if err != nil {
			return p, err
		}
		took = append(took, d)
	}
	counted, err := b.counted(ctx, fmt.Sprintf("quiet%d-%%", b.round))
	if err == nil && counted != int64(o.Timed) {
		err = fmt.Errorf("%w: of %d events at rest, %d", ErrUnhandled, o.Timed, counted)
	}
	return PercentilesOf(took), err
}

// summarize takes ratios round by round, to the first number.
func (r *PartitionsRow) summarize(first []PartitionsRound) {
	type pair struct{ this, first PartitionsRound }
	var pairs []pair
	for i, round := range r.Rounds {
		pairs = append(pairs, pair{round, first[i]})
	}
	of := func(value func(pair) float64) float64 { return Median(pairs, value) }
	r.Nothing = of(func(p pair) float64 { return p.this.Nothing })
	r.NothingRatio = of(func(p pair) float64 { return p.this.Nothing / p.first.Nothing })
	r.Upsert = of(func(p pair) float64 { return p.this.Upsert })
	r.UpsertRatio = of(func(p pair) float64 { return p.this.Upsert / p.first.Upsert })
	r.Quiet = Percentiles{
		P50: of(func(p pair) float64 { return p.this.Quiet.P50 }),
		P90: of(func(p pair) float64 { return p.this.Quiet.P90 }),
		P99: of(func(p pair) float64 { return p.this.Quiet.P99 }),
	}
	r.QuietRatio = of(func(p pair) float64 { return p.first.Quiet.P50 / p.this.Quiet.P50 })
}
