package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/report"
)

const (
	// lookEvery is how often the database is asked how far things are.
	lookEvery = 500 * time.Millisecond

	// shareWindow is about how long the shares reach back that are shown while the demo runs.
	shareWindow = 2 * time.Second
)

// show is the part of a demo in which the processes run. Everything happens on the goroutine that calls run.
type show struct {
	Config
	pool    *pgxpool.Pool
	fleet   *fleet
	sampler *Sampler
	view    view
	began   time.Time
	results []StepResult
	slowest *float64 // of the takeovers after the walk, in seconds; nil: there was none

	looked   time.Time // when look was last called
	sample   Sample    // what it read
	recent   window
	caughtUp bool // the workers had come to the end of the log
}

// newShow prepares a run with children in this environment. after is the position of the last event of the first burst.
func newShow(cfg Config, pool *pgxpool.Pool, env []string, after int64) *show {
	labels := make([]string, cfg.Workers)
	for i := range labels {
		labels[i] = workerLabel(i)
	}
	s := &show{Config: cfg, pool: pool, fleet: newFleet(env, cfg.Workers), sampler: NewSampler(labels), view: newView(cfg)}
	s.sampler.After = after
	return s
}

// run starts the processes and goes through the walk until its end or that of ctx, lets the workers handle what is left, and
// ends everything in order. When it returns, no process is left.
func (s *show) run(ctx context.Context) error {
	s.began = time.Now()
	err := s.fleet.startAppender(s.Rate)
	if err == nil {
		err = s.walk(ctx)
	}
	if err == nil || errors.Is(err, errEnded) {
		err = s.drain()
	}
	stopErr := s.fleet.stop()
	s.view.end()
	if err != nil {
		return err // and whatever else went wrong followed from it
	}
	return stopErr
}

// drain stops the appender and waits until the workers have handled what is left. It does not end with the context of the demo.
func (s *show) drain() error {
	if err := s.note("the appender is stopped, the workers handle what is left"); err != nil {
		return err
	}
	if err := s.fleet.stopAppender(); err != nil {
		return err
	}
	if err := s.fleet.gather(); err != nil {
		return err
	}
	done, err := s.wait(context.Background(), time.Now().Add(drainTimeout), func() (bool, error) {
		err := s.look()
		return s.caughtUp, err
	})
	if err == nil && !done {
		err = s.note("the workers have not come to the end of the log within %s", drainTimeout)
	}
	return err
}

// failed shows the last lines of a child that has ended by itself, and explains it.
func (s *show) failed(c *process.Process) error {
	s.view.end()
	for _, line := range c.Output.All() {
		_, _ = fmt.Fprintln(s.Err, console.Printable(line)) // there is no other place to report it
	}
	return failure(c)
}

// note shows something that has happened.
func (s *show) note(format string, args ...any) error {
	return s.view.note(time.Since(s.began), fmt.Sprintf(format, args...))
}

// look reads how things are and shows it. It does not end with the context of the demo: the statements have deadlines of
// their own.
func (s *show) look() error {
	sample, err := s.sampler.Sample(context.Background(), s.pool)
	if err != nil {
		return err
	}
	r, err := report.Read(context.Background(), s.pool)
	if err != nil {
		return err
	}
	s.looked, s.sample = time.Now(), sample
	projection := projectionOf(r)
	s.caughtUp = projection != nil && len(projection.Partitions) > 0 && projection.LagEvents == 0
	f := Frame{Second: int(time.Since(s.began).Seconds()), Appended: sample.Appended, P50: sample.Latency.P50, P99: sample.Latency.P99}
	for i, worker := range s.fleet.workers {
		if worker == nil {
			continue
		}
		w := WorkerFrame{Label: workerLabel(i), PID: worker.PID(), Handled: sample.Handled[workerLabel(i)], State: stateStarting}
		w.describe(r, projection)
		if away := s.fleet.away[i]; away != "" {
			w.State, w.Mode = away, ""
		}
		f.Handled += w.Handled
		f.Workers = append(f.Workers, w)
	}
	f.share(s.recent.since(sample, s.looked))
	f.Lag = max(f.Appended-f.Handled, 0)
	return s.view.frame(f)
}

// sampleAt is a sample with the time at which it was taken.
type sampleAt struct {
	Sample
	at time.Time
}

// window is the samples of the last shareWindow and the one before, oldest first.
type window []sampleAt

// since adds a sample and returns what was known shareWindow before it.
func (w *window) since(now Sample, at time.Time) Sample {
	all := append(*w, sampleAt{now, at})
	for len(all) > 2 && at.Sub(all[1].at) >= shareWindow {
		all = all[1:]
	}
	*w = all
	return all[0].Sample
}

// projectionOf is what the report says of the demo's projection, nil before the first worker has started.
func projectionOf(r report.Report) *report.Projection {
	for i := range r.Projections {
		if r.Projections[i].Name == Name {
			return &r.Projections[i]
		}
	}
	return nil
}
