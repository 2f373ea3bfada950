package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
)

// WritersOptions say how much to measure.
type WritersOptions struct {
	Writers []int         // numbers of writers, each at least 1
	Rounds  int           // of each variant, at least 1
	Length  time.Duration // of one round; whole seconds for pgbench
	Poll    time.Duration // how long the naive poller rests

	// Pgbench is the program that writes. Empty: goroutines of this process write, each on a connection of its own.
	Pgbench string
}

// WritersResult is how fast writers append at full speed: to Rouse's log and to a plain table with the same columns and unique keys.
type WritersResult struct {
	Bench  string       `json:"bench"` // writers
	Server Server       `json:"server"`
	Writer string       `json:"writer"` // what appended
	Length float64      `json:"seconds"`
	PollMS float64      `json:"poll_ms"`
	Rows   []WritersRow `json:"rows"`

	// Events is how many events were appended beside the worker, and Handled how many of them it has handled: all.
	Events  int64 `json:"events"`
	Handled int64 `json:"handled"`
}

// WritersRow has medians, in appends per second. Ratios are medians of the rounds' ratios.
type WritersRow struct {
	Writers int `json:"writers"`
	WritersRates

	Alone  float64 `json:"alone_ratio"`    // the log beside nobody over the plain table beside nobody
	Beside float64 `json:"beside_ratio"`   // the log beside a worker over the plain table beside the poller
	Worker float64 `json:"worker_ratio"`   // the log beside a worker over the log beside the poller: what the worker costs
	Lost   int64   `json:"lost_by_poller"` // events that the poller never saw, of both tables and all rounds

	Rounds []WritersRound `json:"rounds"`
}

// WritersRates are the rates of the variants.
type WritersRates struct {
	Plain       float64 `json:"plain_per_second"`        // a plain table, and nobody else
	Log         float64 `json:"log_per_second"`          // Rouse's log, and nobody else
	PlainPolled float64 `json:"plain_polled_per_second"` // a plain table and the naive poller
	LogPolled   float64 `json:"log_polled_per_second"`   // Rouse's log and the naive poller
	Rouse       float64 `json:"rouse_per_second"`        // Rouse's log and a worker that handles everything
}

// WritersRound is one round of each variant.
type WritersRound struct {
	WritersRates
	DrainMS float64 `json:"drain_ms"` // from the writers' end until the worker had handled everything
	Lost    int64   `json:"lost_by_poller"`
}

// logTable is a table that is appended to, and how to read on in it.
type logTable struct{ appendSQL, readSQL, lastSQL, countSQL string }

var (
	plainLog = logTable{sqlAppendPlain, sqlReadPlain, "select coalesce(max(global_position), 0) from plain_log", "select count(*) from plain_log"}
	eventLog = logTable{sqlAppendEvent, sqlReadHand, "select coalesce(max(global_position), 0) from events", "select count(*) from events"}
)

// writersRun is one run of Writers.
type writersRun struct {
	*Bench
	o          WritersOptions
	r          *WritersResult
	plain, log writer
}

// Writers lets writers append as fast as they can, in turn to each table and beside each reader.
func (b *Bench) Writers(ctx context.Context, o WritersOptions) (r WritersResult, err error) {
	r = WritersResult{Bench: "writers", Server: b.server, Length: o.Length.Seconds(), PollMS: float64(o.Poll.Microseconds()) / 1000}
	if err := b.exec(ctx, statementTimeout, sqlPlainLog); err != nil {
		return r, err
	}
	w := &writersRun{Bench: b, o: o, r: &r}
	if w.plain, err = b.newWriter(ctx, o.Pgbench, o.Length, appendPlainScript, sqlAppendPlain); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.plain.close()) }()
	if w.log, err = b.newWriter(ctx, o.Pgbench, o.Length, appendScript, sqlAppendEvent); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.log.close()) }()
	r.Writer = w.log.name()
	total := int64(len(o.Writers) * o.Rounds)
	b.cfg.Progress(0, total)
	for _, n := range o.Writers {
		row := WritersRow{Writers: n}
		for k := range o.Rounds {
			round, err := w.round(ctx, n, k%2 == 1)
			if err != nil {
				return r, err
			}
			row.Rounds = append(row.Rounds, round)
			b.cfg.Progress(int64(len(r.Rows)*o.Rounds+k+1), total)
		}
		row.summarize()
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

// round runs all variants once, backwards or not, so that none is always the first.
func (w *writersRun) round(ctx context.Context, writers int, backwards bool) (r WritersRound, err error) {
	variants := []func() error{
		func() (err error) { r.Plain, err = w.write(ctx, w.plain, writers); return err },
		func() (err error) { r.Log, err = w.write(ctx, w.log, writers); return err },
		func() (err error) {
			r.PlainPolled, err = w.polled(ctx, w.plain, writers, plainLog, &r.Lost)
			return err
		},
		func() (err error) { r.LogPolled, err = w.polled(ctx, w.log, writers, eventLog, &r.Lost); return err },
		func() (err error) { r.Rouse, err = w.beside(ctx, writers, &r.DrainMS); return err },
	}
	for i := range variants {
		if backwards {
			i = len(variants) - 1 - i
		}
		if err := variants[i](); err != nil {
			return r, err
		}
	}
	return r, nil
}

// write appends for the length of a round.
func (w *writersRun) write(ctx context.Context, to writer, writers int) (float64, error) {
	w.Bench.round++
	if err := w.checkpoint(ctx); err != nil {
		return 0, err
	}
	return to.write(ctx, writers, w.Bench.round)
}

// polled appends beside the naive poller, and adds what that has lost.
func (w *writersRun) polled(ctx context.Context, to writer, writers int, table logTable, lost *int64) (rate float64, err error) {
	before, err := w.number(ctx, table.countSQL)
	if err != nil {
		return 0, err
	}
	p, err := w.startPoller(ctx, table, w.o.Poll)
	if err != nil {
		return 0, err
	}
	rate, err = w.write(ctx, to, writers)
	handled, drainErr := p.drain()
	if err = errors.Join(err, drainErr); err != nil {
		return 0, err
	}
	after, err := w.number(ctx, table.countSQL)
	*lost += after - before - handled
	return rate, err
}

// beside appends beside a worker, and waits until that has handled everything.
func (w *writersRun) beside(ctx context.Context, writers int, drainMS *float64) (rate float64, err error) {
	worker, err := w.start(ctx, counts{"bench_writers"}, rouse.Observer{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, worker.stop()) }()
	if err := worker.asleep(ctx); err != nil {
		return 0, err
	}
	before, err := w.number(ctx, eventLog.countSQL)
	if err != nil {
		return 0, err
	}
	handled := worker.Status().EventsHandled
	if rate, err = w.write(ctx, w.log, writers); err != nil {
		return 0, err
	}
	ended := time.Now()
	if err := worker.Drain(ctx); err != nil {
		return 0, err
	}
	*drainMS = float64(time.Since(ended).Microseconds()) / 1000
	after, err := w.number(ctx, eventLog.countSQL)
	if err != nil {
		return 0, err
	}
	handled = worker.Status().EventsHandled - handled
	w.r.Events, w.r.Handled = w.r.Events+after-before, w.r.Handled+handled
	if handled != after-before {
		return 0, fmt.Errorf("%w: of %d events, the worker has handled %d", ErrUnhandled, after-before, handled)
	}
	return rate, nil
}

// summarize takes ratios round by round: neighbours in time are what can be compared.
func (r *WritersRow) summarize() {
	of := func(value func(WritersRound) float64) float64 { return Median(r.Rounds, value) }
	r.WritersRates = WritersRates{
		Plain: of(func(a WritersRound) float64 { return a.Plain }), Log: of(func(a WritersRound) float64 { return a.Log }),
		PlainPolled: of(func(a WritersRound) float64 { return a.PlainPolled }), LogPolled: of(func(a WritersRound) float64 { return a.LogPolled }),
		Rouse: of(func(a WritersRound) float64 { return a.Rouse }),
	}
	r.Alone = of(func(a WritersRound) float64 { return a.Log / a.Plain })
	r.Beside = of(func(a WritersRound) float64 { return a.Rouse / a.PlainPolled })
	r.Worker = of(func(a WritersRound) float64 { return a.Rouse / a.LogPolled })
	for _, a := range r.Rounds {
		r.Lost += a.Lost
	}
}
