// Package metrics counts what a rouse.Worker does, for Prometheus.
//
//	m := metrics.New(pool)
//	worker, err := rouse.New(pool, rouse.Config{Observer: m.Observer(), Projections: ...})
//	if err != nil {
//		return err
//	}
//	m.Watch(worker)
//	http.Handle("/metrics", m.Handler())
//
// What only the database knows is asked for at a scrape, at most once a second, and concerns all workers; in queries, take the
// max over instances of it. docs/operations.md explains every metric.
package metrics

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

var (
	// batchBuckets go from one small transaction to the default time limit of a handler.
	batchBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

	// latencyBuckets begin below what a push takes and end where an event was read in catching up.
	latencyBuckets = []float64{.0005, .001, .0015, .002, .003, .005, .0075, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
)

// Metrics are those of one worker, in a registry of their own. Methods may be used by many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	scrape   *scrape

	eventsHandled, batches, failedAttempts, givenUp, fenced, versionJumps *prometheus.CounterVec
	leasesGained, leasesLost, wakes, pushesMissed, blockedReads           *prometheus.CounterVec
	leases, projectionState, pushMode                                     *prometheus.GaugeVec
	batchSeconds, latencySeconds                                          *prometheus.HistogramVec

	mu    sync.Mutex       // protects owned
	owned map[string][]int // by projection
}

// New makes the metrics of a worker. At a scrape the database is asked through pool, which is not closed.
func New(pool *pgxpool.Pool) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), scrape: newScrape(pool), owned: map[string][]int{},

		eventsHandled: eventsHandled.counter(), batches: batches.counter(), failedAttempts: failedAttempts.counter(),
		givenUp: givenUp.counter(), fenced: fenced.counter(), versionJumps: versionJumps.counter(),
		leasesGained: leasesGained.counter(), leasesLost: leasesLost.counter(), wakes: wakes.counter(),
		pushesMissed: pushesMissed.counter(), blockedReads: blockedReads.counter(),
		leases: leases.gauge(), projectionState: projectionState.gauge(), pushMode: pushMode.gauge(),
		batchSeconds: batchSeconds.histogram(batchBuckets), latencySeconds: latencySeconds.histogram(latencyBuckets),
	}
	m.registry.MustRegister(m.scrape, m.eventsHandled, m.batches, m.failedAttempts, m.givenUp, m.fenced, m.versionJumps,
		m.leasesGained, m.leasesLost, m.wakes, m.pushesMissed, m.blockedReads, m.leases, m.projectionState, m.pushMode,
		m.batchSeconds, m.latencySeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, source := range []string{rouse.WakePush, rouse.WakePoll, rouse.WakeProbe} {
		m.wakes.WithLabelValues(source) // so that they are there before they first move
	}
	m.pushesMissed.WithLabelValues()
	m.blockedReads.WithLabelValues()
	m.mode("polling")
	return m
}

// Watch makes a scrape ask a worker how it is. Call it before the first one.
func (m *Metrics) Watch(w *rouse.Worker) { m.scrape.watch(w) }

// Registry is where the metrics are, beside those of Go and of the process. More may be registered.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler answers scrapes. What cannot be asked for is left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Observer is what Config.Observer has to be. To be told of more, set the functions that it leaves nil: Began and Ended.
func (m *Metrics) Observer() rouse.Observer {
	return rouse.Observer{
		Handled: func(projection string, events int, took time.Duration) {
			m.eventsHandled.WithLabelValues(projection).Add(float64(events))
			m.batches.WithLabelValues(projection).Inc()
			m.batchSeconds.WithLabelValues(projection).Observe(took.Seconds())
		},
		Committed: func(projection string, events []eventstore.Event) {
			now, latency := time.Now(), m.latencySeconds.WithLabelValues(projection)
			for i := range events {
				latency.Observe(max(now.Sub(events[i].CreatedAt).Seconds(), 0)) // below 0 where the clocks differ
			}
		},
		Failed: func(projection string, _ int, _ error) { m.failedAttempts.WithLabelValues(projection).Inc() },
		GaveUp: func(projection string, _ eventstore.Event, what rouse.OnFailure, _ error) {
			m.givenUp.WithLabelValues(projection, string(what)).Inc()
		},
		Fenced:     func(projection string, _ int) { m.fenced.WithLabelValues(projection).Inc() },
		VersionGap: func(projection string, _ eventstore.Event, _ int64) { m.versionJumps.WithLabelValues(projection).Inc() },
		State:      m.state,
		Mode:       m.mode,
		Owns:       m.owns,
		Woke:       func(source string) { m.wakes.WithLabelValues(source).Inc() },
		PushMissed: func() { m.pushesMissed.WithLabelValues().Inc() },
		Blocked:    func() { m.blockedReads.WithLabelValues().Inc() },
	}
}

func (m *Metrics) state(projection string, state rouse.State) {
	for _, s := range []rouse.State{rouse.StateStarting, rouse.StateStandby, rouse.StatePaused, rouse.StateCatchingUp, rouse.StateLive,
		rouse.StateRetrying, rouse.StateStopped} {
		m.projectionState.WithLabelValues(projection, string(s)).Set(truth(s == state))
	}
}

func (m *Metrics) mode(mode string) {
	for _, known := range []string{"quiet", "torrent", "polling", "deaf"} {
		m.pushMode.WithLabelValues(known).Set(truth(known == mode))
	}
}

// owns counts what was gained and lost since it was last told. The first time makes the counters of a projection, at 0, so
// that a rate over them has a beginning.
func (m *Metrics) owns(projection string, partitions []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.owned[projection]
	if !known {
		m.versionJumps.WithLabelValues(projection)
		m.failedAttempts.WithLabelValues(projection)
		m.fenced.WithLabelValues(projection)
	}
	m.owned[projection] = slices.Clone(partitions)
	m.leases.WithLabelValues(projection).Set(float64(len(partitions)))
	m.leasesGained.WithLabelValues(projection).Add(float64(missing(partitions, before)))
	m.leasesLost.WithLabelValues(projection).Add(float64(missing(before, partitions)))
}

// missing counts the numbers of a that are not in b.
func missing(a, b []int) (n int) {
	for _, p := range a {
		if !slices.Contains(b, p) {
			n++
		}
	}
	return n
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
