package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LadderOptions say how much to measure.
type LadderOptions struct {
	Rates   []float64     // events per second, rising, two at least; the steps are these and then the same back
	Length  time.Duration // of one step
	Writers int           // that append at once, at least 1
	Rounds  int           // how often each side has all steps, at least 1
}

// steps are the rates up and down.
func (o LadderOptions) steps() []float64 {
	all := append([]float64{}, o.Rates...)
	for i := len(o.Rates) - 2; i >= 0; i-- {
		all = append(all, o.Rates[i])
	}
	return all
}

// LadderResult is how latency follows the rate of appends, without a pause from step to step.
type LadderResult struct {
	Bench   string       `json:"bench"` // ladder
	Server  Server       `json:"server"`
	Writers int          `json:"writers"`
	Seconds float64      `json:"seconds"` // of one step
	Rounds  int          `json:"rounds"`
	Steps   []LadderStep `json:"steps"`

	// Worst is the largest ratio of the p50 of two neighbouring steps, the larger over the smaller, and Between are the two.
	Worst   float64    `json:"worst_ratio_of_neighbours"`
	Between [2]float64 `json:"between_rates"`

	FloorWorst float64 `json:"floor_worst_ratio_of_neighbours"`
}

// LadderStep is one step, with the medians of the rounds' percentiles.
type LadderStep struct {
	Rate         float64     `json:"rate"`
	Down         bool        `json:"down"` // on the way back
	Events       int         `json:"events"`
	FloorHandled int         `json:"floor_handled"` // of the events of all rounds
	Rouse        Percentiles `json:"rouse"`
	Floor        Percentiles `json:"floor"`
}

// Ladder lets writers append on schedule at one rate after the other, up and down, to each side in turn.
func (b *Bench) Ladder(ctx context.Context, o LadderOptions) (r LadderResult, err error) {
	r = LadderResult{Bench: "ladder", Server: b.server, Writers: o.Writers, Seconds: o.Length.Seconds(), Rounds: o.Rounds}
	if err := b.makeFloor(ctx); err != nil {
		return r, err
	}
	conns, err := b.connectMany(ctx, o.Writers)
	defer closeAll(conns)
	if err != nil {
		return r, err
	}
	steps := o.steps()
	total := int64(2 * o.Rounds * len(steps))
	b.cfg.Progress(0, total)
	var floors, ours [][]Percentiles
	handled := make([]int, len(steps))
	for range o.Rounds {
		b.round++
		name, err := b.atEnd(ctx)
		if err != nil {
			return r, err
		}
		for _, side := range []struct {
			*busySide
			into *[][]Percentiles
		}{{b.busyFloor(), &floors}, {b.busyRouse(name, o.Writers), &ours}} {
			took, err := b.climb(ctx, o, conns, side.busySide, total)
			if err != nil {
				return r, err
			}
			if side.into == &floors {
				for i := range took {
					handled[i] += len(took[i])
				}
			}
			*side.into = append(*side.into, percentilesOfSteps(took))
		}
	}
	for i, rate := range steps {
		r.Steps = append(r.Steps, LadderStep{
			Rate: rate, Down: i >= len(o.Rates), Events: stepEvents(rate, o.Length), FloorHandled: handled[i],
			Rouse: medianStep(ours, i), Floor: medianStep(floors, i),
		})
	}
	r.compare()
	return r, nil
}

// stepEvents is how many events a step has.
func stepEvents(rate float64, length time.Duration) int { return max(int(rate*length.Seconds()), 1) }

// climb runs one side through all steps, and returns the latencies of each.
func (b *Bench) climb(ctx context.Context, o LadderOptions, conns []*pgx.Conn, side *busySide, total int64) ([][]time.Duration, error) {
	events := 0
	err := side.turn(ctx, func() error {
		for i, rate := range o.steps() {
			if i > 0 {
				side.stamps.next()
			}
			n := stepEvents(rate, o.Length)
			if _, err := paced(ctx, conns, side, rate, n); err != nil {
				return err
			}
			events += n
			b.timed++
			b.cfg.Progress(min(b.timed, total), total)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	took, handled := side.stamps.steps(), 0
	for i := range took {
		if len(took[i]) == 0 {
			return nil, fmt.Errorf("%w: none of step %d", ErrUnhandled, i+1)
		}
		handled += len(took[i])
	}
	if !side.loses && handled != events {
		return nil, fmt.Errorf("%w: of %d events, %d", ErrUnhandled, events, handled)
	}
	return took, nil
}

func percentilesOfSteps(took [][]time.Duration) (all []Percentiles) {
	for _, of := range took {
		all = append(all, PercentilesOf(of))
	}
	return all
}

// medianStep takes the medians of one step over the rounds.
func medianStep(rounds [][]Percentiles, step int) Percentiles {
	of := func(value func(Percentiles) float64) float64 {
		return Median(rounds, func(round []Percentiles) float64 { return value(round[step]) })
	}
	return Percentiles{
		P50: of(func(p Percentiles) float64 { return p.P50 }),
		P90: of(func(p Percentiles) float64 { return p.P90 }),
		P99: of(func(p Percentiles) float64 { return p.P99 }),
	}
}

// compare finds the neighbours that differ most.
func (r *LadderResult) compare() {
	for i := 1; i < len(r.Steps); i++ {
		before, now := r.Steps[i-1], r.Steps[i]
		if times := apartBy(before.Rouse.P50, now.Rouse.P50); times > r.Worst {
			r.Worst, r.Between = times, [2]float64{before.Rate, now.Rate}
		}
		r.FloorWorst = max(r.FloorWorst, apartBy(before.Floor.P50, now.Floor.P50))
	}
}

// apartBy is the larger over the smaller.
func apartBy(a, b float64) float64 { return max(a, b) / min(a, b) }
