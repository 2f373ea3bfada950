package metrics

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/report"
)

const (
	// readsPerScrape is how many schemas a scrape of a group reads from the database at most, those first that were read longest ago,
	// and readsAtOnce how many of them at the same time.
	readsPerScrape = 50
	readsAtOnce    = 3

	labelSchema = "schema"
)

// Group has the metrics of one rouse.Group, in a registry of their own. Its methods may be called by many goroutines.
//
//	m := metrics.NewGroup(pool)
//	group, err := rouse.NewGroup(pool, rouse.GroupConfig{
//		Worker: func(_ context.Context, schema string) (rouse.Config, error) {
//			return rouse.Config{Observer: m.Observer(schema), Projections: ...}, nil
//		}, ...
//	})
//	if err != nil {
//		return err
//	}
//	m.Watch(group)
//	http.Handle("/metrics", m.Handler())
//
// The metrics are those of a worker with a label schema. So that their number stays bounded, the two histograms, and the counts of
// wakes, missed pushes and blocked reads, are of the whole process and have no such label, the lag is that of the partition that is
// furthest behind and has no label partition, and what says something of the server is not told for each schema again. A schema that
// has left the group is shown no more. What is read from the database is read for 50 schemas in each scrape, in turn.
type Group struct {
	registry *prometheus.Registry
	pool     *pgxpool.Pool
	shared   *Metrics // what is of the whole process
	descs    map[string]*prometheus.Desc

	mu      sync.Mutex // protects the fields below
	schemas map[string]*Metrics
	group   *rouse.Group

	scraping sync.Mutex // protects the fields below; held during a scrape, so that there is one at a time
	read     map[string]*reading
	errors   int // reads that failed
	failed   bool
}

// reading is what was last read of a schema.
type reading struct {
	report report.Report
	at     time.Time // zero: never
	err    error
}

// groupAsked are the metrics of a group that a scrape reads, with a label schema before those that are named here.
var groupAsked = []metric{waitingSeconds, workerReady,
	headPosition, {lagEvents.name, lagEvents.help, []string{labelProjection}}, {lagSeconds.name, lagSeconds.help, []string{labelProjection}}, unowned,
	projectionHalted, projectionCondition, retryingEvents, retryingOldest, deferredEvents, deferredOverdue, parkedEvents, parkedOldest,
	workersAlive, horizonHolds, horizonSeconds, deadCheckpoints}

// groupWide are those without a label.
var groupWide = []metric{workerAlive, listenerConnected, databaseUp, databaseErrors}

// NewGroup returns the metrics of a group. A scrape reads the database through pool, which is not closed.
func NewGroup(pool *pgxpool.Pool) *Group {
	g := &Group{
		registry: prometheus.NewRegistry(), pool: pool, shared: newMetrics(), descs: map[string]*prometheus.Desc{},
		schemas: map[string]*Metrics{}, read: map[string]*reading{},
	}
	for _, m := range groupAsked {
		m.labels = append([]string{labelSchema}, m.labels...)
		g.descs[m.name] = m.desc()
	}
	for _, m := range groupWide {
		g.descs[m.name] = m.desc()
	}
	s := g.shared
	g.registry.MustRegister(g, s.batchSeconds, s.latencySeconds, s.wakes, s.pushesMissed, s.blockedReads,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return g
}

// Watch makes a scrape call the Health and Status of group. Call it before the first one.
func (g *Group) Watch(group *rouse.Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.group = group
}

// Registry returns the registry of the metrics, with those of Go and of the process. More may be registered.
func (g *Group) Registry() *prometheus.Registry { return g.registry }

// Handler returns the handler of scrapes. Metrics that cannot be read at the moment are left out.
func (g *Group) Handler() http.Handler {
	return promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Observer returns the value for Config.Observer of the worker of a schema. Its functions Began and Ended are nil, for the caller to
// set. The counters of a schema go on where its worker starts again.
func (g *Group) Observer(schema string) rouse.Observer {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.schemas[schema]
	if m == nil {
		m = newMetrics()
		m.batchSeconds, m.latencySeconds = g.shared.batchSeconds, g.shared.latencySeconds
		m.wakes, m.pushesMissed, m.blockedReads = g.shared.wakes, g.shared.pushesMissed, g.shared.blockedReads
		g.of(schema).MustRegister(m.own()...)
		g.schemas[schema] = m
	}
	return m.Observer()
}

// of returns the registerer of the metrics of a schema.
func (g *Group) of(schema string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{labelSchema: schema}, g.registry)
}

// status returns the status of group, and takes away what there is of schemas that are no longer in it. Whoever calls Observer is in
// it already, so nothing is taken away that is just registered. The caller holds scraping.
func (g *Group) status(group *rouse.Group) rouse.GroupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	status := group.Status()
	for schema, m := range g.schemas {
		if _, known := status.Schemas[schema]; known {
			continue
		}
		for _, c := range m.own() {
			g.of(schema).Unregister(c)
		}
		delete(g.schemas, schema)
	}
	for schema := range g.read {
		if _, known := status.Schemas[schema]; !known {
			delete(g.read, schema)
		}
	}
	return status
}

// Describe implements prometheus.Collector.
func (g *Group) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range g.descs {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (g *Group) Collect(to chan<- prometheus.Metric) {
	g.scraping.Lock()
	defer g.scraping.Unlock()
	gauge := func(m metric, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(g.descs[m.name], prometheus.GaugeValue, value, labels...)
	}
	g.mu.Lock()
	group := g.group
	g.mu.Unlock()
	if group == nil {
		return
	}
	health := group.Health(context.Background()) // which has a limit of its own
	gauge(workerAlive, truth(health.Alive()))
	status := g.status(group)
	listening := false
	for schema, s := range status.Schemas {
		gauge(workerReady, truth(health.Schemas[schema].Ready()), schema)
		listening = listening || s.Worker.Listening
		for name := range s.Worker.States {
			waited := 0.0
			if w, waits := s.Worker.Waiting[name]; waits {
				waited = time.Since(w.Since).Seconds()
			}
			gauge(waitingSeconds, waited, schema, name)
		}
	}
	gauge(listenerConnected, truth(listening))
	g.readSome(status)
	gauge(databaseUp, truth(!g.failed))
	to <- prometheus.MustNewConstMetric(g.descs[databaseErrors.name], prometheus.CounterValue, float64(g.errors))
	for schema, r := range g.read {
		if _, known := status.Schemas[schema]; known && r.err == nil && !r.at.IsZero() {
			show(r.report, schema, gauge)
		}
	}
}

// readSome reads the reports of those schemas that were read longest ago. The caller holds scraping.
func (g *Group) readSome(status rouse.GroupStatus) {
	var due []string
	for schema := range status.Schemas {
		if g.read[schema] == nil {
			g.read[schema] = &reading{}
		}
		if time.Since(g.read[schema].at) >= freshFor {
			due = append(due, schema)
		}
	}
	slices.SortFunc(due, func(a, b string) int {
		return cmp.Or(g.read[a].at.Compare(g.read[b].at), cmp.Compare(a, b))
	})
	due = due[:min(len(due), readsPerScrape)]
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	slots := make(chan struct{}, readsAtOnce)
	var wg sync.WaitGroup
	for _, schema := range due {
		slots <- struct{}{}
		r := g.read[schema]
		wg.Go(func() {
			defer func() { <-slots }()
			r.report, r.err = report.ReadIn(ctx, g.pool, schema)
			r.at = time.Now()
		})
	}
	wg.Wait()
	failed := 0
	for _, schema := range due {
		if r := g.read[schema]; r.err != nil {
			failed++
		}
	}
	g.errors += failed
	if len(due) > 0 {
		g.failed = failed == len(due) // one that is broken says nothing of the others
	}
}

// show sends the values of the report of a schema.
func show(r report.Report, schema string, gauge func(m metric, value float64, labels ...string)) {
	gauge(headPosition, float64(r.Head), schema)
	alive := 0
	for _, w := range r.Workers {
		if w.Alive {
			alive++
		}
	}
	gauge(workersAlive, float64(alive), schema)
	for _, p := range r.Projections {
		gauge(lagEvents, float64(p.LagEvents), schema, p.Name)
		gauge(lagSeconds, p.LagSeconds, schema, p.Name)
		gauge(unowned, float64(p.Missed()), schema, p.Name)
		for _, condition := range report.Conditions() {
			gauge(projectionCondition, truth(condition == p.Condition()), schema, p.Name, condition)
		}
		gauge(projectionHalted, truth(p.State != "running"), schema, p.Name)
		gauge(retryingEvents, float64(p.Retrying.Events), schema, p.Name)
		gauge(retryingOldest, orZero(p.Retrying.OldestAgeSeconds), schema, p.Name)
		gauge(deferredEvents, float64(p.Deferred.Events), schema, p.Name)
		gauge(deferredOverdue, max(-orZero(p.Deferred.NextSeconds), 0), schema, p.Name)
		gauge(parkedEvents, float64(p.Parked.Events), schema, p.Name)
		gauge(parkedOldest, orZero(p.Parked.OldestAgeSeconds), schema, p.Name)
	}
	for _, retired := range r.Retired {
		gauge(projectionCondition, 1, schema, retired.Name, report.RetiredName)
	}
	gauge(horizonHolds, float64(len(r.OpenAppends)), schema)
	var age float64
	if len(r.OpenAppends) > 0 {
		age = orZero(r.OpenAppends[0].AgeSeconds)
	}
	gauge(horizonSeconds, age, schema)
	gauge(deadCheckpoints, float64(r.DeadCheckpoints), schema)
}
