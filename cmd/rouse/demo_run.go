package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/report"
)

const (
	// lookEvery is how often the database is asked how far things are.
	lookEvery = 500 * time.Millisecond

	// shareWindow is about how long the shares reach back that are shown while the demo runs.
	shareWindow = 2 * time.Second
)

// demoRun is the part of a demo in which the processes run. Everything happens on the goroutine that calls run.
type demoRun struct {
	*app
	flags   demoFlags
	pool    *pgxpool.Pool
	fleet   *fleet
	sampler *demo.Sampler
	view    demoView
	began   time.Time
	results []stageResult
	slowest *float64 // of the takeovers after the walk, in seconds; nil: there was none

	looked   time.Time   // when look was last called
	sample   demo.Sample // what it read
	recent   []sampleAt  // those of the last shareWindow and the one before, oldest first
	caughtUp bool        // the workers had come to the end of the log
}

// newDemo prepares a run with children in this environment. after is the position of the last event of the first burst.
func (a *app) newDemo(f demoFlags, pool *pgxpool.Pool, env []string, after int64) *demoRun {
	labels := make([]string, f.workers)
	for i := range labels {
		labels[i] = workerLabel(i)
	}
	d := &demoRun{app: a, flags: f, pool: pool, fleet: newFleet(env, f.workers), sampler: demo.NewSampler(labels), view: a.newView(f)}
	d.sampler.After = after
	return d
}

// run starts the processes and goes through the walk until its end or that of ctx, lets the workers handle what is left, and
// ends everything in order. When it returns, no process is left.
func (d *demoRun) run(ctx context.Context) error {
	d.began = time.Now()
	err := d.fleet.startAppender(d.flags.rate)
	if err == nil {
		err = d.walk(ctx)
	}
	if err == nil || errors.Is(err, errEnded) {
		err = d.drain()
	}
	stopErr := d.fleet.stop()
	d.view.end()
	if err != nil {
		return err // and whatever else went wrong followed from it
	}
	return stopErr
}

// drain stops the appender and waits until the workers have handled what is left. It does not end with the context of the demo.
func (d *demoRun) drain() error {
	if err := d.note("the appender is stopped, the workers handle what is left"); err != nil {
		return err
	}
	if err := d.fleet.stopAppender(); err != nil {
		return err
	}
	if err := d.fleet.gather(); err != nil {
		return err
	}
	done, err := d.wait(context.Background(), time.Now().Add(drainTimeout), func() (bool, error) {
		err := d.look()
		return d.caughtUp, err
	})
	if err == nil && !done {
		err = d.note("the workers have not come to the end of the log within %s", drainTimeout)
	}
	return err
}

// failed shows the last lines of a child that has ended by itself, and explains it.
func (d *demoRun) failed(c *child) error {
	d.view.end()
	for _, line := range c.output.all() {
		_, _ = fmt.Fprintln(d.err, line) // there is nobody else to tell
	}
	return c.failure()
}

// note shows something that has happened.
func (d *demoRun) note(format string, args ...any) error {
	return d.view.note(time.Since(d.began), fmt.Sprintf(format, args...))
}

// look reads how things are and shows it. It does not end with the context of the demo: the statements have deadlines of
// their own.
func (d *demoRun) look() error {
	sample, err := d.sampler.Sample(context.Background(), d.pool)
	if err != nil {
		return err
	}
	r, err := report.Read(context.Background(), d.pool)
	if err != nil {
		return err
	}
	d.looked, d.sample = time.Now(), sample
	projection := projectionOf(r)
	d.caughtUp = projection != nil && len(projection.Partitions) > 0 && projection.LagEvents == 0
	f := frame{Second: int(time.Since(d.began).Seconds()), Appended: sample.Appended, P50: sample.Latency.P50, P99: sample.Latency.P99}
	for i, worker := range d.fleet.workers {
		if worker == nil {
			continue
		}
		w := workerFrame{Label: workerLabel(i), PID: worker.pid(), Handled: sample.Handled[workerLabel(i)], State: stateStarting}
		w.describe(r, projection)
		if away := d.fleet.away[i]; away != "" {
			w.State, w.Mode = away, ""
		}
		f.Handled += w.Handled
		f.Workers = append(f.Workers, w)
	}
	f.share(d.since(sample))
	f.Lag = max(f.Appended-f.Handled, 0)
	return d.view.frame(f)
}

// sampleAt is a sample with the time at which it was taken.
type sampleAt struct {
	demo.Sample
	at time.Time
}

// since is what was known shareWindow ago.
func (d *demoRun) since(now demo.Sample) demo.Sample {
	d.recent = append(d.recent, sampleAt{now, d.looked})
	for len(d.recent) > 2 && d.looked.Sub(d.recent[1].at) >= shareWindow {
		d.recent = d.recent[1:]
	}
	return d.recent[0].Sample
}

// projectionOf is what the report says of the demo's projection, nil before the first worker has started.
func projectionOf(r report.Report) *report.Projection {
	for i := range r.Projections {
		if r.Projections[i].Name == demo.Name {
			return &r.Projections[i]
		}
	}
	return nil
}

// frame is how things are at one moment. Its names in JSON are a promise to scripts.
type frame struct {
	Second   int           `json:"second"`
	Appended int64         `json:"appended"`
	Handled  int64         `json:"handled"` // rows, so an event that was handled twice counts twice
	Lag      int64         `json:"lag_events"`
	P50      *float64      `json:"p50_ms"` // of the last two seconds; null: nothing was handled
	P99      *float64      `json:"p99_ms"`
	Workers  []workerFrame `json:"workers"` // that have been started
	Notes    []string      `json:"notes"`   // what has happened since the last one
}

// share computes what each worker has handled of what all have handled since an earlier sample.
func (f *frame) share(since demo.Sample) {
	var sum int64
	for _, handled := range since.Handled {
		sum -= handled
	}
	sum += f.Handled
	for i, w := range f.Workers {
		if sum > 0 {
			f.Workers[i].SharePercent = 100 * float64(w.Handled-since.Handled[w.Label]) / float64(sum)
		}
	}
}

// workerFrame is one worker: what it has handled by the read model, and what it said of itself in its last heartbeat.
type workerFrame struct {
	Label        string  `json:"label"`
	PID          int     `json:"pid"`
	SharePercent float64 `json:"share_percent"` // of what all have handled in about the last two seconds; 0: nothing was
	Partitions   int     `json:"partitions"`
	Handled      int64   `json:"handled"`
	Mode         string  `json:"mode"`  // quiet, torrent, polling or deaf; empty: it has not said yet
	State        string  `json:"state"` // as in status, or starting, killed, left or frozen
}

const (
	stateStarting = "starting"
	stateKilled   = "killed"
	stateLeft     = "left"
	stateFrozen   = "frozen"
)

// describe fills in what the report says of the process. A process that was killed is still in it, under another pid.
func (w *workerFrame) describe(r report.Report, projection *report.Projection) {
	for _, row := range r.Workers {
		if row.Label != w.Label || row.PID != w.PID || !row.Alive {
			continue
		}
		w.Mode = row.Mode
		if state := row.States[demo.Name]; state != "" {
			w.State = state
		}
		if projection == nil {
			return
		}
		for _, p := range projection.Partitions {
			if p.Instance == row.Instance {
				w.Partitions++
			}
		}
	}
}
