// Package metrics counts the work of a rouse.Worker, for Prometheus.
//
//	m := metrics.New(pool)
//	worker, err := rouse.New(pool, rouse.Config{Observer: m.Observer(), Projections: ...})
//	if err != nil {
//		return err
//	}
//	m.Watch(worker)
//	http.Handle("/metrics", m.Handler())
//
// Some metrics are read from the database at a scrape, at most once a second, and concern all workers; in queries, take
// the max over instances of them. docs/operations.md explains every metric.
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
	// batchBuckets go from one small transaction to the default time limit of a handler, in seconds.
	batchBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

	// latencyBuckets begin below the duration of a push, in seconds, and end where an event was read in catching up.
	latencyBuckets = []float64{.0005, .001, .0015, .002, .003, .005, .0075, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
)

// Metrics has the metrics of one worker, in a registry of their own. Its methods may be called by many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	scrape   *scrape

	eventsHandled, batches, failedAttempts, givenUp, fenced, versionJumps, unknownEvents *prometheus.CounterVec
	leasesGained, leasesLost, wakes, pushesMissed, blockedReads                          *prometheus.CounterVec
	leases, projectionState, pushMode                                                    *prometheus.GaugeVec
	batchSeconds, latencySeconds                                                         *prometheus.HistogramVec

	mu    sync.Mutex       // protects owned
	owned map[string][]int // by projection: the partitions of the last call of owns
}

// New returns the metrics of a worker. A scrape reads the database through pool, which is not closed.
func New(pool *pgxpool.Pool) *Metrics {
	m := newMetrics()
	m.registry, m.scrape = prometheus.NewRegistry(), newScrape(pool)
	m.registry.MustRegister(m.scrape, m.batchSeconds, m.latencySeconds, m.wakes, m.pushesMissed, m.blockedReads,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.own()...)
	return m
}

// own returns the collectors that are of one worker alone also in a group.
func (m *Metrics) own() []prometheus.Collector {
	return []prometheus.Collector{m.eventsHandled, m.batches, m.failedAttempts, m.givenUp, m.fenced, m.versionJumps, m.unknownEvents, m.leasesGained,
		m.leasesLost, m.leases, m.projectionState, m.pushMode}
}

// newMetrics returns metrics that are not registered.
func newMetrics() *Metrics {
	m := &Metrics{
		owned: map[string][]int{},

		eventsHandled: eventsHandled.counter(), batches: batches.counter(), failedAttempts: failedAttempts.counter(),
		givenUp: givenUp.counter(), fenced: fenced.counter(), versionJumps: versionJumps.counter(), unknownEvents: unknownEvents.counter(),
		leasesGained: leasesGained.counter(), leasesLost: leasesLost.counter(), wakes: wakes.counter(),
		pushesMissed: pushesMissed.counter(), blockedReads: blockedReads.counter(),
		leases: leases.gauge(), projectionState: projectionState.gauge(), pushMode: pushMode.gauge(),
		batchSeconds: batchSeconds.histogram(batchBuckets), latencySeconds: latencySeconds.histogram(latencyBuckets),
	}
	for _, source := range []string{rouse.WakePush, rouse.WakePoll, rouse.WakeProbe} {
		m.wakes.WithLabelValues(source) // so that they are there before they first move
	}
	m.pushesMissed.WithLabelValues()
	m.blockedReads.WithLabelValues()
	m.mode("polling")
	return m
}

// Watch makes a scrape call the Health and Status of w. Call it before the first one.
func (m *Metrics) Watch(w *rouse.Worker) { m.scrape.watch(w) }

// Registry returns the registry of the metrics, with those of Go and of the process. More may be registered.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler returns the handler of scrapes. Metrics that cannot be read at the moment are left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Observer returns the value for Config.Observer. Its functions Began and Ended are nil, for the caller to set.
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
		Unknown:    func(projection string, _ eventstore.Event) { m.unknownEvents.WithLabelValues(projection).Inc() },
		State:      m.state,
		Mode:       m.mode,
		Owns:       m.owns,
		Woke:       func(source string) { m.wakes.WithLabelValues(source).Inc() },
		PushMissed: func() { m.pushesMissed.WithLabelValues().Inc() },
		Blocked:    func() { m.blockedReads.WithLabelValues().Inc() },
	}
}

// state sets the gauge of state to 1 and those of the other states to 0.
func (m *Metrics) state(projection string, state rouse.State) {
	for _, s := range []rouse.State{rouse.StateStarting, rouse.StateStandby, rouse.StatePaused, rouse.StateCatchingUp, rouse.StateLive,
		rouse.StateRetrying, rouse.StateWaiting, rouse.StateStopped} {
		m.projectionState.WithLabelValues(projection, string(s)).Set(truth(s == state))
	}
}

// mode sets the gauge of mode to 1 and those of the other modes to 0.
func (m *Metrics) mode(mode string) {
	for _, known := range []string{"quiet", "torrent", "polling", "deaf"} {
		m.pushMode.WithLabelValues(known).Set(truth(known == mode))
	}
}

// owns counts the partitions gained and lost since its last call for projection. The first call creates the counters of
// the projection, at 0, so that a rate over them has a beginning.
func (m *Metrics) owns(projection string, partitions []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.owned[projection]
	if !known {
		m.versionJumps.WithLabelValues(projection)
		m.unknownEvents.WithLabelValues(projection)
		m.failedAttempts.WithLabelValues(projection)
		m.fenced.WithLabelValues(projection)
	}
	m.owned[projection] = slices.Clone(partitions)
	m.leases.WithLabelValues(projection).Set(float64(len(partitions)))
	m.leasesGained.WithLabelValues(projection).Add(float64(missing(partitions, before)))
	m.leasesLost.WithLabelValues(projection).Add(float64(missing(before, partitions)))
}

// missing returns how many numbers of a are not in b.
func missing(a, b []int) (n int) {
	for _, p := range a {
		if !slices.Contains(b, p) {
			n++
		}
	}
	return n
}

// truth returns b as the value of a gauge.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
