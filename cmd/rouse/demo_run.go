package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/report"
)

// lookEvery is how often the database is asked how far things are.
const lookEvery = 500 * time.Millisecond

// demoRun is the part of a demo in which the processes run. Everything happens on the goroutine that calls run.
type demoRun struct {
	*app
	flags   demoFlags
	pool    *pgxpool.Pool
	fleet   *fleet
	sampler *demo.Sampler
	view    demoView
	began   time.Time
	victim  int           // who is killed next
	killAt  time.Duration // when, from the beginning; while one is down, when it is started again
}

// newDemo prepares a run with children in this environment. after is the position of the last event of the first burst.
func (a *app) newDemo(f demoFlags, pool *pgxpool.Pool, env []string, after int64) *demoRun {
	labels := make([]string, f.workers)
	for i := range labels {
		labels[i] = workerLabel(i)
	}
	d := &demoRun{app: a, flags: f, pool: pool, fleet: newFleet(env, f.workers), sampler: demo.NewSampler(labels), view: a.newView(f)}
	d.sampler.After = after
	d.victim, d.killAt = min(1, f.workers-1), killEvery
	if f.duration > 0 {
		d.killAt = f.duration / 3
	}
	return d
}

// run starts the processes, watches them until ctx or the duration ends, lets the workers handle what is left, and ends
// everything in order. When it returns, no process is left.
func (d *demoRun) run(ctx context.Context) error {
	d.began = time.Now()
	err := d.fleet.start(d.flags.rate)
	if err == nil {
		err = d.watch(ctx)
	}
	if err == nil {
		err = d.drain()
	}
	stopErr := d.fleet.stop()
	d.view.end()
	if err != nil {
		return err // and whatever else went wrong followed from it
	}
	return stopErr
}

// watch shows how things are until the end of appending, and kills a worker now and then.
func (d *demoRun) watch(ctx context.Context) error {
	if d.flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.flags.duration)
		defer cancel()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-d.fleet.failed:
			return d.failed(c)
		case <-tick.C:
		}
		if err := d.disturb(); err != nil {
			return err
		}
		if _, err := d.look(); err != nil {
			return err
		}
	}
}

// disturb kills a worker, or starts the killed one again, if it is time to.
func (d *demoRun) disturb() error {
	elapsed := time.Since(d.began)
	switch {
	case elapsed < d.killAt:
		return nil
	case d.fleet.down >= 0:
		return d.revive()
	case !d.fleet.complete():
		return nil // one at a time
	}
	i := d.victim
	pid := d.fleet.workers[i].pid()
	d.fleet.kill(i)
	d.victim, d.killAt = (i+1)%len(d.fleet.workers), elapsed+downFor
	if d.flags.duration > 0 {
		d.killAt = elapsed + min(downFor, d.flags.duration/3)
	}
	return d.note("%s (pid %d) was killed with SIGKILL", workerLabel(i), pid)
}

// revive starts the worker again that is down, if there is one.
func (d *demoRun) revive() error {
	i, err := d.fleet.revive()
	if err != nil || i < 0 {
		return err
	}
	d.killAt = time.Since(d.began) + killEvery
	if d.flags.duration > 0 {
		d.killAt = d.flags.duration + drainTimeout // once is enough
	}
	return d.note("%s was started again (pid %d)", workerLabel(i), d.fleet.workers[i].pid())
}

// drain stops the appender and waits until the workers have handled what is left and whoever was killed is back.
func (d *demoRun) drain() error {
	if err := d.note("the appender is stopped, the workers handle what is left"); err != nil {
		return err
	}
	if err := d.fleet.stopAppender(); err != nil {
		return err
	}
	if err := d.revive(); err != nil {
		return err
	}
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery / 5)
	defer tick.Stop()
	for {
		caughtUp, err := d.look()
		if err != nil || caughtUp && d.fleet.complete() {
			return err
		}
		select {
		case c := <-d.fleet.failed:
			return d.failed(c)
		case <-deadline.C:
			return d.note("the workers have not come to the end of the log within %s", drainTimeout)
		case <-tick.C:
		}
	}
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

// look reads how things are, shows it, and tells whether the workers have come to the end of the log. It does not end with
// the context of the demo: the statements have deadlines of their own.
func (d *demoRun) look() (caughtUp bool, err error) {
	sample, err := d.sampler.Sample(context.Background(), d.pool)
	if err != nil {
		return false, err
	}
	r, err := report.Read(context.Background(), d.pool)
	if err != nil {
		return false, err
	}
	f := frame{Second: int(time.Since(d.began).Seconds()), Appended: sample.Appended, P50: sample.Latency.P50, P99: sample.Latency.P99}
	projection := projectionOf(r)
	for i, worker := range d.fleet.workers {
		w := workerFrame{Label: workerLabel(i), PID: worker.pid(), Handled: sample.Handled[workerLabel(i)], State: stateStarting}
		w.describe(r, projection)
		if i == d.fleet.down {
			w.State, w.Mode, w.Partitions = stateKilled, "", 0
		}
		f.Handled += w.Handled
		f.Workers = append(f.Workers, w)
	}
	for i := range f.Workers {
		f.Workers[i].SharePercent = 100 * float64(f.Workers[i].Handled) / float64(max(f.Handled, 1))
		if d.fleet.returned[i] && f.Workers[i].Partitions > 0 {
			d.fleet.returned[i] = false
			if err := d.note("%s is back", workerLabel(i)); err != nil {
				return false, err
			}
		}
	}
	f.Lag = max(f.Appended-f.Handled, 0)
	return projection != nil && projection.LagEvents == 0, d.view.frame(f)
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
	Workers  []workerFrame `json:"workers"`
	Notes    []string      `json:"notes"` // what has happened since the last one
}

// workerFrame is one worker: what it has handled by the read model, and what it said of itself in its last heartbeat.
type workerFrame struct {
	Label        string  `json:"label"`
	PID          int     `json:"pid"`
	SharePercent float64 `json:"share_percent"` // of the events handled by all
	Partitions   int     `json:"partitions"`
	Handled      int64   `json:"handled"`
	Mode         string  `json:"mode"`  // quiet, torrent, polling or deaf; empty: it has not said yet
	State        string  `json:"state"` // as in status, or starting or killed
}

const (
	stateStarting = "starting"
	stateKilled   = "killed"
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
