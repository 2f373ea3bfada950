package metrics

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/report"
)

const (
	// freshFor is how long the values that were read from the database are shown again.
	freshFor = time.Second

	// readTimeout bounds one read of the database, well below the 10 s that Prometheus waits for a scrape.
	readTimeout = 3 * time.Second
)

// asked are the metrics that a scrape reads.
var asked = []metric{waitingSeconds, workerAlive, workerReady, listenerConnected, databaseUp, databaseErrors, headPosition, lagEvents, lagSeconds, unowned,
	projectionHalted, projectionCondition, retryingEvents, retryingOldest, deferredEvents, deferredOverdue, parkedEvents, parkedOldest,
	workersAlive, horizonHolds, horizonSeconds, horizonPID, snapshotSeconds, snapshotAge, deadCheckpoints, deadWorkers}

// scrape is the collector of the metrics that are read at a scrape.
type scrape struct {
	pool  *pgxpool.Pool
	descs map[string]*prometheus.Desc

	mu     sync.Mutex // protects the fields below; held during a read, so that scrapes at the same time share it
	worker *rouse.Worker
	report report.Report
	readAt time.Time
	err    error // of the last read
	errors int   // reads that failed
}

// newScrape returns a scrape that reads through pool and has no worker yet.
func newScrape(pool *pgxpool.Pool) *scrape {
	s := &scrape{pool: pool, descs: map[string]*prometheus.Desc{}}
	for _, m := range asked {
		s.descs[m.name] = m.desc()
	}
	return s
}

// watch sets the worker.
func (s *scrape) watch(w *rouse.Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker = w
}

// Describe implements prometheus.Collector.
func (s *scrape) Describe(to chan<- *prometheus.Desc) {
	for _, m := range asked {
		to <- s.descs[m.name]
	}
}

// Collect implements prometheus.Collector.
func (s *scrape) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(m metric, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(s.descs[m.name], prometheus.GaugeValue, value, labels...)
	}
	if s.worker != nil {
		health := s.worker.Health(context.Background()) // which has a limit of its own
		gauge(workerAlive, truth(health.Alive()))
		gauge(workerReady, truth(health.Ready()))
		status := s.worker.Status()
		gauge(listenerConnected, truth(status.Listening))
		for name := range status.States {
			waited := 0.0
			if w, waits := status.Waiting[name]; waits {
				waited = time.Since(w.Since).Seconds()
			}
			gauge(waitingSeconds, waited, name)
		}
	}
	s.read()
	gauge(databaseUp, truth(s.err == nil))
	to <- prometheus.MustNewConstMetric(s.descs[databaseErrors.name], prometheus.CounterValue, float64(s.errors))
	if s.err == nil {
		s.show(gauge)
	}
}

// read reads the report, unless the last one is younger than freshFor. The caller holds the mutex.
func (s *scrape) read() {
	if time.Since(s.readAt) < freshFor {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	s.report, s.err = report.Read(ctx, s.pool)
	s.readAt = time.Now()
	if s.err != nil {
		s.errors++
	}
}

// show sends the values of the report. The caller holds the mutex.
func (s *scrape) show(gauge func(m metric, value float64, labels ...string)) {
	gauge(headPosition, float64(s.report.Head))
	alive := 0
	for _, w := range s.report.Workers {
		if w.Alive {
			alive++
		}
	}
	gauge(workersAlive, float64(alive))
	for _, p := range s.report.Projections {
		for _, part := range p.Partitions {
			number := strconv.Itoa(part.Partition)
			gauge(lagEvents, float64(part.LagEvents), p.Name, number)
			gauge(lagSeconds, part.LagSeconds, p.Name, number)
		}
		gauge(unowned, float64(p.Missed()), p.Name)
		for _, condition := range report.Conditions() {
			gauge(projectionCondition, truth(condition == p.Condition()), p.Name, condition)
		}
		gauge(projectionHalted, truth(p.State != "running"), p.Name)
		gauge(retryingEvents, float64(p.Retrying.Events), p.Name)
		gauge(retryingOldest, orZero(p.Retrying.OldestAgeSeconds), p.Name)
		gauge(deferredEvents, float64(p.Deferred.Events), p.Name)
		gauge(deferredOverdue, max(-orZero(p.Deferred.NextSeconds), 0), p.Name)
		gauge(parkedEvents, float64(p.Parked.Events), p.Name)
		gauge(parkedOldest, orZero(p.Parked.OldestAgeSeconds), p.Name)
	}
	for _, retired := range s.report.Retired {
		gauge(projectionCondition, 1, retired.Name, report.RetiredName)
	}
	holds := s.report.OpenAppends // the oldest first, those of unknown age last
	gauge(horizonHolds, float64(len(holds)))
	var age, pid float64
	if len(holds) > 0 {
		age, pid = orZero(holds[0].AgeSeconds), float64(holds[0].PID)
	}
	gauge(horizonSeconds, age)
	gauge(horizonPID, pid)
	var held, over float64
	if oldest := s.report.OldestSnapshot; oldest != nil {
		held, over = orZero(oldest.AgeSeconds), float64(oldest.Transactions)
	}
	gauge(snapshotSeconds, held)
	gauge(snapshotAge, over)
	gauge(deadCheckpoints, float64(s.report.DeadCheckpoints))
	gauge(deadWorkers, float64(s.report.DeadWorkers))
}

// orZero returns *f, 0 if f is nil.
func orZero(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}
