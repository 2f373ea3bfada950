package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
)

// Disk is how the server flushes what is committed.
type Disk string

// The disks.
const (
	// DiskAsIs leaves the settings alone.
	DiskAsIs Disk = "as-is"
	// DiskSlow makes each flush take 5 ms more, with commit_delay, as on a slow disk. It changes settings of the whole server.
	DiskSlow Disk = "slow"
)

// ErrShared means that a slow disk was asked for on a server that is not the benchmark's own.
var ErrShared = errors.New("bench: a slow disk is imitated by settings of the whole server, which is only done on one of the benchmark's own")

// AppendOptions say how much to measure.
type AppendOptions struct {
	Writers []int         // numbers of writers, each at least 1
	Rounds  int           // rounds of each variant, at least 1
	Length  time.Duration // of one round; whole seconds for pgbench
	Disks   []Disk

	// Idle is how many further processes listen and have nothing to do, and Program the path of rouse, which they run.
	Idle    int
	Program string

	// Pgbench is the program that writes. Empty: goroutines of this process write, each on a connection of its own.
	Pgbench string
}

// AppendResult is how fast writers append while one worker reads and handles everything.
type AppendResult struct {
	Bench  string       `json:"bench"` // append
	Server Server       `json:"server"`
	Writer string       `json:"writer"` // what appended
	Length float64      `json:"seconds"`
	Idle   int          `json:"idle_processes"`
	Disks  []AppendDisk `json:"disks"`

	// Events is how many events all rounds have appended, and Handled how many of them the worker's read model has: all.
	Events  int64 `json:"events"`
	Handled int64 `json:"handled"`
}

// AppendDisk is the table of one disk, a row for each number of writers.
type AppendDisk struct {
	Disk     Disk              `json:"disk"`
	Settings map[string]string `json:"settings"` // what was changed
	Rows     []AppendRow       `json:"rows"`
}

// AppendRow has medians. Ratios are medians of the rounds' ratios.
type AppendRow struct {
	Writers           int           `json:"writers"`
	Off               float64       `json:"push_off_per_second"`
	Rouse             float64       `json:"rouse_per_second"`
	NotifyAlways      float64       `json:"notify_always_per_second"`
	RouseRatio        float64       `json:"rouse_ratio"`
	NotifyAlwaysRatio float64       `json:"notify_always_ratio"`
	Rounds            []AppendRound `json:"rounds"`
}

// AppendRound is one round of each variant.
type AppendRound struct {
	Off          AppendOutcome `json:"push_off"`
	Rouse        AppendOutcome `json:"rouse"`
	NotifyAlways AppendOutcome `json:"notify_always"`
}

// AppendOutcome is one variant in one round.
type AppendOutcome struct {
	PerSecond float64 `json:"per_second"` // appends
	DrainMS   float64 `json:"drain_ms"`   // from the writers' end until the worker had handled everything
	Mode      string  `json:"mode"`       // of the worker's push when the writers ended
}

// variant is one way of being pushed.
type variant struct {
	pushed       bool   // workers are told of appends
	push, always string // ALTER TABLE's words for the push trigger and for the one that always notifies
	of           func(*AppendRound) *AppendOutcome
}

// The first is what the others are compared with.
var variants = []variant{
	{false, "disable", "disable", func(r *AppendRound) *AppendOutcome { return &r.Off }},
	{true, "enable always", "disable", func(r *AppendRound) *AppendOutcome { return &r.Rouse }},
	{false, "disable", "enable", func(r *AppendRound) *AppendOutcome { return &r.NotifyAlways }},
}

// slowDisk makes every commit wait for 5 ms before it flushes, whether others commit or not.
var slowDisk = map[string]string{"commit_delay": "5000", "commit_siblings": "0"}

// Append measures with the push trigger off, as Rouse has it, and with one that notifies on every commit, in turn.
func (b *Bench) Append(ctx context.Context, o AppendOptions) (r AppendResult, err error) {
	r = AppendResult{Bench: "append", Server: b.server, Length: o.Length.Seconds(), Idle: o.Idle}
	if err := b.exec(ctx, statementTimeout, sqlNotifyAlways); err != nil {
		return r, err
	}
	w, err := b.newWriter(ctx, o.Pgbench, o.Length, appendScript, sqlAppendEvent)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r.Writer = w.name()
	if o.Idle > 0 {
		idle, startErr := b.startSleepers(ctx, o.Program, o.Idle)
		defer func() { err = errors.Join(err, idle.stop()) }()
		if startErr != nil {
			return r, startErr
		}
		b.idle = idle
		defer func() { b.idle = nil }()
	}
	total := int64(len(o.Disks) * len(o.Writers) * o.Rounds * len(variants))
	b.cfg.Progress(0, total)
	for _, disk := range o.Disks {
		d, err := b.appendOn(ctx, o, disk, w, total)
		if err != nil {
			return r, err
		}
		r.Disks = append(r.Disks, d)
	}
	if r.Events, err = b.number(ctx, "select count(*) from events"); err != nil {
		return r, err
	}
	if r.Handled, err = b.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts"); err != nil {
		return r, err
	}
	if r.Events != r.Handled {
		return r, fmt.Errorf("%w: of %d events, %d are in the read model", ErrUnhandled, r.Events, r.Handled)
	}
	return r, nil
}

// appendOn measures one disk, and leaves the server's settings as they were.
func (b *Bench) appendOn(ctx context.Context, o AppendOptions, disk Disk, w writer, total int64) (d AppendDisk, err error) {
	d = AppendDisk{Disk: disk, Settings: map[string]string{}}
	if disk == DiskSlow {
		if !b.cfg.Own {
			return d, ErrShared
		}
		d.Settings = slowDisk
		defer func() { err = errors.Join(err, b.slow(context.WithoutCancel(ctx), false)) }()
		if err := b.slow(ctx, true); err != nil {
			return d, err
		}
	}
	for _, n := range o.Writers {
		row := AppendRow{Writers: n}
		for range o.Rounds {
			var round AppendRound
			for _, v := range variants {
				if *v.of(&round), err = b.appendRound(ctx, v, w, n); err != nil {
					return d, err
				}
				b.cfg.Progress(int64(b.round), total)
			}
			row.Rounds = append(row.Rounds, round)
		}
		row.summarize()
		d.Rows = append(d.Rows, row)
	}
	return d, nil
}

// summarize takes ratios round by round: neighbours in time are what can be compared.
func (r *AppendRow) summarize() {
	r.Off = Median(r.Rounds, func(a AppendRound) float64 { return a.Off.PerSecond })
	r.Rouse = Median(r.Rounds, func(a AppendRound) float64 { return a.Rouse.PerSecond })
	r.NotifyAlways = Median(r.Rounds, func(a AppendRound) float64 { return a.NotifyAlways.PerSecond })
	r.RouseRatio = Median(r.Rounds, func(a AppendRound) float64 { return a.Rouse.PerSecond / a.Off.PerSecond })
	r.NotifyAlwaysRatio = Median(r.Rounds, func(a AppendRound) float64 { return a.NotifyAlways.PerSecond / a.Off.PerSecond })
}

// appendRound lets the writers write for a while beside a fresh worker that is up and asleep. The triggers are set before it
// starts, so that it knows from its first read on whether it will be pushed.
func (b *Bench) appendRound(ctx context.Context, v variant, w writer, writers int) (o AppendOutcome, err error) {
	b.round++
	err = b.exec(ctx, statementTimeout,
		"alter table events "+v.push+" trigger rouse_append_after",
		"alter table events "+v.always+" trigger notify_always")
	if err != nil {
		return o, err
	}
	if err := b.checkpoint(ctx); err != nil {
		return o, err
	}
	worker, err := b.start(ctx, counts{"bench_append"}, rouse.Observer{})
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, worker.stop()) }()
	if err := worker.asleep(ctx); err != nil {
		return o, err
	}
	if v.pushed {
		if err := b.idle.asleep(ctx); err != nil {
			return o, err
		}
	}
	if o.PerSecond, err = w.write(ctx, writers, b.round); err != nil {
		return o, err
	}
	o.Mode = worker.Status().Mode
	ended := time.Now()
	if err := worker.Drain(ctx); err != nil {
		return o, err
	}
	o.DrainMS = float64(time.Since(ended).Microseconds()) / 1000
	return o, nil
}

// slow sets the settings of a slow disk, or takes them back.
func (b *Bench) slow(ctx context.Context, on bool) error {
	var statements []string
	for name, value := range slowDisk {
		if on {
			statements = append(statements, "alter system set "+name+" = "+value)
		} else {
			statements = append(statements, "alter system reset "+name)
		}
	}
	return b.exec(ctx, statementTimeout, append(statements, "select pg_reload_conf()")...)
}
