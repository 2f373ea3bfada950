package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/scaling"
)

// ScaleOptions say how much to measure.
type ScaleOptions struct {
	Events  int64  // how long the history is, at least 1
	Workers []int  // numbers of workers, each at least 1; the first is what the others are compared with
	Rounds  int    // how often each number works through it, at least 1
	Program string // the path of rouse, which is run as the workers
}

// ScaleResult is how a history is worked through by processes that share it.
type ScaleResult struct {
	Bench  string     `json:"bench"` // scale
	Server Server     `json:"server"`
	Events int64      `json:"events"`
	Rows   []ScaleRow `json:"rows"`
}

// ScaleRow has medians. Ratios are medians of the rounds' ratios, to the first row.
type ScaleRow struct {
	Workers   int          `json:"workers"`
	PerSecond float64      `json:"events_per_second"` // from the start of the first process to the end of the last
	Speedup   float64      `json:"speedup"`
	CPU       float64      `json:"cpu_seconds"` // of all workers and the server
	CPURatio  float64      `json:"cpu_ratio"`
	Rounds    []ScaleRound `json:"rounds"`
}

// ScaleRound is one round. What a system does not tell is 0.
type ScaleRound struct {
	PerSecond  float64 `json:"events_per_second"`
	WorkersCPU float64 `json:"workers_cpu_seconds"`
	ServerCPU  float64 `json:"server_cpu_seconds"`
	PeakMiB    float64 `json:"peak_mib"` // the most memory that one worker had at a time
}

// cpu is of everybody; 0 if a part is not known.
func (r ScaleRound) cpu() float64 {
	if r.WorkersCPU == 0 || r.ServerCPU == 0 {
		return 0
	}
	return r.WorkersCPU + r.ServerCPU
}

// Scale makes a history and lets different numbers of `rouse worker --once` work through it from the beginning, in turn. Shares
// are fixed, so that nobody waits for anybody and all of them end when they have theirs.
func (b *Bench) Scale(ctx context.Context, o ScaleOptions) (ScaleResult, error) {
	r := ScaleResult{Bench: "scale", Server: b.server, Events: o.Events}
	total := int64(o.Rounds * len(o.Workers))
	b.cfg.Progress(0, total)
	if err := scaling.Ensure(ctx, b.pool); err != nil {
		return r, err
	}
	if err := b.fill(ctx, o.Events); err != nil {
		return r, err
	}
	for _, n := range o.Workers {
		r.Rows = append(r.Rows, ScaleRow{Workers: n})
	}
	for range o.Rounds {
		for i := range r.Rows {
			round, err := b.processRound(ctx, o.Program, o.Events, r.Rows[i].Workers)
			if err != nil {
				return r, err
			}
			r.Rows[i].Rounds = append(r.Rows[i].Rounds, round)
			b.round++
			b.cfg.Progress(int64(b.round), total)
		}
	}
	for i := range r.Rows {
		r.Rows[i].summarize(r.Rows[0].Rounds)
	}
	return r, nil
}

func (r *ScaleRow) summarize(first []ScaleRound) {
	type pair struct{ this, first ScaleRound }
	var pairs []pair
	for i, round := range r.Rounds {
		pairs = append(pairs, pair{round, first[i]})
	}
	r.PerSecond = Median(pairs, func(p pair) float64 { return p.this.PerSecond })
	r.CPU = Median(pairs, func(p pair) float64 { return p.this.cpu() })
	r.Speedup = Median(pairs, func(p pair) float64 { return p.this.PerSecond / p.first.PerSecond })
	if first[0].cpu() > 0 {
		r.CPURatio = Median(pairs, func(p pair) float64 { return p.this.cpu() / p.first.cpu() })
	}
}

// processRound lets processes work through the history from the beginning.
func (b *Bench) processRound(ctx context.Context, program string, events int64, workers int) (r ScaleRound, err error) {
	if err := b.exec(ctx, statementTimeout, "truncate scaling_activity"); err != nil {
		return r, err
	}
	if _, err := b.pool.Exec(ctx, "delete from projections where projection_name = $1", scaling.Name); err != nil {
		return r, err
	}
	if err := b.checkpoint(ctx); err != nil {
		return r, err
	}
	before, err := b.serverCPU(ctx)
	if err != nil {
		return r, err
	}
	began := time.Now()
	used, err := b.once(ctx, program, workers)
	if err != nil {
		return r, err
	}
	took := time.Since(began)
	after, err := b.serverCPU(ctx)
	if err != nil {
		return r, err
	}
	r.PerSecond, r.ServerCPU = PerSecond(events, took), (after - before).Seconds()
	for _, u := range used {
		r.WorkersCPU += u.cpu.Seconds()
		r.PeakMiB = max(r.PeakMiB, u.peakMiB)
	}
	handled, err := b.number(ctx, "select coalesce(sum(events), 0)::bigint from scaling_activity")
	if err == nil && handled != events {
		err = fmt.Errorf("%w: of %d events, %d workers have handled %d", ErrUnhandled, events, workers, handled)
	}
	return r, err
}

// once lets so many workers handle everything, each its fixed share, and returns what each has used.
func (b *Bench) once(ctx context.Context, program string, workers int) ([]usage, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	var children []*process.Process
	var err error
	for i := range workers {
		var c *process.Process
		if c, err = b.startChild(ctx, program, "worker", "--once", "--projection", scaling.Name,
			"--worker-id", fmt.Sprint(i), "--total-workers", fmt.Sprint(workers)); err != nil {
			cancel()
			break
		}
		children = append(children, c)
	}
	var used []usage
	for _, c := range children {
		u, childErr := ended(c)
		used, err = append(used, u), errors.Join(err, childErr)
	}
	if err == nil {
		err = ctx.Err()
	}
	return used, err
}
