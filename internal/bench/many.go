package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ManyOptions say how much to measure.
type ManyOptions struct {
	Projections []int   // numbers of projections in one process, each at least 1; the others are compared with the first
	Events      int     // of each number and round, at least 1
	Rate        float64 // events per second, more than 0
	Rounds      int     // of each number, at least 1
	Program     string  // the path of rouse, which is run as the worker
}

// ManyResult is what many projections in one process take, and how late the last of them is.
type ManyResult struct {
	Bench  string    `json:"bench"` // projections
	Server Server    `json:"server"`
	Events int       `json:"events"` // of each number and round
	Rate   float64   `json:"rate"`
	Rows   []ManyRow `json:"rows"`
}

// ManyRow is one number of projections. The pool may have two connections for each and one more.
type ManyRow struct {
	Projections int `json:"projections"`

	// Last has the times from the acknowledged commit of an append to the commit of the last projection that handles it: medians of the
	// rounds' percentiles. Ratio is the median of the rounds' ratios of the p50 to that of the first row.
	Last  Percentiles `json:"last"`
	Ratio float64     `json:"p50_ratio"`

	// The most of all rounds. Connections are as the server counts them meanwhile; PeakMiB is 0 where the system does not tell. Start
	// is from the making of the worker until all projections have their partitions, which are new in the first round.
	Connections int64   `json:"connections"`
	PeakMiB     float64 `json:"peak_mib"`
	Start       float64 `json:"start_seconds"`

	Rounds []ManyRound `json:"rounds"`
}

// ManyRound is one round of one number.
type ManyRound struct {
	Last        Percentiles `json:"last"`
	Connections int64       `json:"connections"`
	PeakMiB     float64     `json:"peak_mib"`
	Start       float64     `json:"start_seconds"`
}

// Many gives events to processes with different numbers of projections, in turn.
func (b *Bench) Many(ctx context.Context, o ManyOptions) (r ManyResult, err error) {
	r = ManyResult{Bench: "projections", Server: b.server, Events: o.Events, Rate: o.Rate}
	total := int64(o.Rounds * len(o.Projections))
	b.cfg.Progress(0, total)
	for _, n := range o.Projections {
		r.Rows = append(r.Rows, ManyRow{Projections: n})
	}
	if err := b.turns(o.Rounds, len(r.Rows), total, func(i int) error {
		b.round++
		round, err := b.manyRound(ctx, o, r.Rows[i].Projections)
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

// manyRound runs one process.
func (b *Bench) manyRound(ctx context.Context, o ManyOptions, projections int) (r ManyRound, err error) {
	s, err := b.startSubject(ctx, o.Program, "live", strconv.Itoa(projections))
	if err != nil {
		return r, err
	}
	defer func() {
		s.Dismiss()
		said, endErr := s.end()
		r.PeakMiB, err = said.PeakMiB, errors.Join(err, endErr)
	}()
	if err := s.await(ctx, "its start", func() bool { return s.said.Ready }); err != nil {
		return r, err
	}
	r.Start = s.heard().Started
	if err := b.subjectAsleep(ctx); err != nil {
		return r, err
	}
	began, err := b.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts")
	if err != nil {
		return r, err
	}
	committed, err := b.manyEvents(ctx, o, &r)
	if err != nil {
		return r, err
	}
	var took []time.Duration
	err = s.await(ctx, "all events to be handled by all projections", func() bool {
		took = took[:0]
		for position, at := range committed {
			settled, known := s.settled[position]
			if !known {
				return false
			}
			// An effect can be committed before the writer has heard of its own commit. That counts as the least there is.
			took = append(took, max(time.Duration(settled-at), time.Microsecond))
		}
		return true
	})
	if err != nil {
		return r, err
	}
	r.Last = PercentilesOf(took)
	counted, err := b.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts")
	if err == nil && counted-began != int64(projections*o.Events) {
		err = fmt.Errorf("%w: %d projections have counted %d of %d events", ErrUnhandled, projections, counted-began, o.Events)
	}
	return r, err
}

// subjectAsleep waits until the process sleeps until it is pushed.
func (b *Bench) subjectAsleep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, subjectWithin)
	defer cancel()
	for {
		quiet, err := b.number(ctx, "select count(*) from projection_workers where label = $1 and mode = 'quiet'", subjectLabel)
		if err != nil || quiet > 0 {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("bench: a measured process does not fall asleep: %w", err)
		}
	}
}

// manyEvents appends on schedule, whether events are handled or not, and returns when each was committed, in nanoseconds since 1970, by
// position.
func (b *Bench) manyEvents(ctx context.Context, o ManyOptions, r *ManyRound) (map[int64]int64, error) {
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(float64(o.Events)/o.Rate*float64(time.Second))+statementTimeout)
	defer cancel()
	committed := map[int64]int64{}
	began := time.Now()
	for n := range o.Events {
		if err := until(ctx, began.Add(time.Duration(float64(n)/o.Rate*float64(time.Second)))); err != nil {
			return nil, err
		}
		var position int64
		if err := conn.QueryRow(ctx, sqlAppendEvent, fmt.Sprint("many", b.round), n+1).Scan(&position); err != nil {
			return nil, err
		}
		committed[position] = time.Now().UnixNano()
		if n%10 != 0 && n != o.Events-1 {
			continue
		}
		open, err := b.connections(ctx, SubjectName)
		if err != nil {
			return nil, err
		}
		r.Connections = max(r.Connections, open)
	}
	return committed, nil
}

// summarize takes the medians, and ratios round by round to the first number.
func (r *ManyRow) summarize(first []ManyRound) {
	var lasts [][]Percentiles
	var ratios []float64
	for i, round := range r.Rounds {
		lasts = append(lasts, []Percentiles{round.Last})
		ratios = append(ratios, round.Last.P50/first[i].Last.P50)
		r.Connections, r.PeakMiB, r.Start = max(r.Connections, round.Connections), max(r.PeakMiB, round.PeakMiB), max(r.Start, round.Start)
	}
	r.Last = medianStep(lasts, 0)
	r.Ratio = Median(ratios, func(f float64) float64 { return f })
}
