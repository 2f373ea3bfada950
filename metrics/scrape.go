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
	// freshFor is how long what was read of the database is shown again.
	freshFor = time.Second

	// readTimeout bounds one look at the database, well below the 10 s that Prometheus waits for a scrape.
	readTimeout = 3 * time.Second
)

// asked are the metrics that a scrape asks for.
var asked = []metric{workerAlive, workerReady, listenerConnected, databaseUp, databaseErrors, headPosition, lagEvents, lagSeconds, unowned,
	projectionHalted, parkedEvents, parkedOldest, workersAlive, horizonHolds, horizonSeconds, horizonPID}

// scrape is the collector of what is asked for at a scrape.
type scrape struct {
	pool  *pgxpool.Pool
	descs map[string]*prometheus.Desc

	mu     sync.Mutex // protects the fields below, and makes scrapes that come at once share one look
	worker *rouse.Worker
	report report.Report
	readAt time.Time
	err    error // of the last look
	errors int
}

func newScrape(pool *pgxpool.Pool) *scrape {
	s := &scrape{pool: pool, descs: map[string]*prometheus.Desc{}}
	for _, m := range asked {
		s.descs[m.name] = m.desc()
	}
	return s
}

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
		gauge(listenerConnected, truth(s.worker.Status().Listening))
	}
	s.read()
	gauge(databaseUp, truth(s.err == nil))
	to <- prometheus.MustNewConstMetric(s.descs[databaseErrors.name], prometheus.CounterValue, float64(s.errors))
	if s.err == nil {
		s.show(gauge)
	}
}

// read looks at the database unless it just has.
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

// show gives what was read.
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
		gauge(unowned, float64(p.Unowned), p.Name)
		gauge(projectionHalted, truth(p.State != "running"), p.Name)
		gauge(parkedEvents, float64(p.Parked.Events), p.Name)
		gauge(parkedOldest, orZero(p.Parked.OldestAgeSeconds), p.Name)
	}
	holds := s.report.OpenAppends // the oldest first, those of unknown age last
	gauge(horizonHolds, float64(len(holds)))
	var age, pid float64
	if len(holds) > 0 {
		age, pid = orZero(holds[0].AgeSeconds), float64(holds[0].PID)
	}
	gauge(horizonSeconds, age)
	gauge(horizonPID, pid)
}

func orZero(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}
