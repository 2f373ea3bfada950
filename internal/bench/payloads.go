package bench

import (
	"context"
	"fmt"
	"time"
)

// PayloadsOptions say how much to measure.
type PayloadsOptions struct {
	Sizes   []int64 // of payloads, in bytes, each at least 10
	History int64   // bytes of payloads that a history has, at least the largest size
	Rounds  int     // of each size, at least 1
	Program string  // the path of rouse, which is run as the worker
}

// payloadEvents is the most events that a history of small payloads has.
const payloadEvents = 1_000_000

// PayloadsResult is what the size of events costs a worker that works through a history of them with a handler that does nothing.
type PayloadsResult struct {
	Bench  string        `json:"bench"` // payloads
	Server Server        `json:"server"`
	Rows   []PayloadsRow `json:"rows"`
}

// PayloadsRow is one size. Rates are medians, and the ratio is the median of the rounds' ratios.
type PayloadsRow struct {
	Bytes   int64           `json:"bytes"`
	Events  int64           `json:"events"`
	Rouse   float64         `json:"rouse_events_per_second"`
	Floor   float64         `json:"floor_events_per_second"` // a loop that reads everything and decodes nothing, 1,000 events at a time
	Ratio   float64         `json:"ratio"`
	PeakMiB float64         `json:"peak_mib"` // the most memory of the worker's process, of all rounds; 0: not told here
	Rounds  []PayloadsRound `json:"rounds"`
}

// PayloadsRound is one round of one size.
type PayloadsRound struct {
	Rouse   float64 `json:"rouse_events_per_second"`
	Floor   float64 `json:"floor_events_per_second"`
	PeakMiB float64 `json:"peak_mib"`
}

// events is how many a history of a size has.
func (o PayloadsOptions) events(size int64) int64 { return max(min(o.History/size, payloadEvents), 1) }

// Payloads makes a history of each size in turn, and lets both sides work through it.
func (b *Bench) Payloads(ctx context.Context, o PayloadsOptions) (r PayloadsResult, err error) {
	r = PayloadsResult{Bench: "payloads", Server: b.server}
	c := &catchup{Bench: b}
	for _, size := range o.Sizes {
		c.total += 2 * int64(o.Rounds) * o.events(size)
	}
	c.progress(0)
	for _, size := range o.Sizes {
		row := PayloadsRow{Bytes: size, Events: o.events(size)}
		if err := b.fillPayloads(ctx, row.Events, size); err != nil {
			return r, err
		}
		for range o.Rounds {
			round, err := c.payloadRound(ctx, o.Program, row.Events)
			if err != nil {
				return r, err
			}
			row.Rounds = append(row.Rounds, round)
			row.PeakMiB = max(row.PeakMiB, round.PeakMiB)
		}
		row.Rouse = Median(row.Rounds, func(r PayloadsRound) float64 { return r.Rouse })
		row.Floor = Median(row.Rounds, func(r PayloadsRound) float64 { return r.Floor })
		row.Ratio = Median(row.Rounds, func(r PayloadsRound) float64 { return r.Rouse / r.Floor })
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

// fillPayloads puts another history into the place of the last one.
func (b *Bench) fillPayloads(ctx context.Context, events, size int64) error {
	if err := b.exec(ctx, statementTimeout, "truncate events"); err != nil {
		return err
	}
	fillCtx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	if _, err := b.pool.Exec(fillCtx, sqlFillPayload, events, historyAggregates, size); err != nil {
		return err
	}
	return b.exec(ctx, longTimeout, "vacuum analyze events")
}

// payloadRound is one round of one size.
func (c *catchup) payloadRound(ctx context.Context, program string, events int64) (r PayloadsRound, err error) {
	c.round++
	if err := c.checkpoint(ctx); err != nil {
		return r, err
	}
	read, took, err := c.raw(ctx)
	if err != nil {
		return r, err
	}
	s, err := c.startSubject(ctx, program, "through", fmt.Sprint("bench_payload_", c.round))
	if err != nil {
		return r, err
	}
	said, err := s.end()
	if err != nil {
		return r, err
	}
	if read != events || said.Handled != events {
		return r, fmt.Errorf("%w: of %d events, Rouse has handled %d and the floor %d", ErrUnhandled, events, said.Handled, read)
	}
	c.progress(events)
	r.Floor, r.PeakMiB = PerSecond(read, took), said.PeakMiB
	r.Rouse = PerSecond(said.Handled, time.Duration(said.Seconds*float64(time.Second)))
	return r, nil
}
