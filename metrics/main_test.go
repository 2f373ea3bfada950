package metrics_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/metrics"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for.
const patience = time.Minute

// testBundle is a database.
type testBundle struct {
	*testdb.DB
	t *testing.T
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	return &testBundle{DB: testdb.New(t), t: t}
}

func (b *testBundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

// append appends one event of an aggregate.
func (b *testBundle) append(eventType, aggregate string, version int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', $1, $2, $3, '{}')`,
		aggregate, version, eventType)
}

// pool opens another pool.
func (b *testBundle) pool() *pgxpool.Pool {
	b.t.Helper()
	pool, err := pgxpool.New(context.Background(), b.URL)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// away makes Away events wait for a service.
var away atomic.Bool

// things handles all events but Bad ones, Flaky ones that are tried again, and Later ones that wait for their time.
type things struct{}

func (things) Name() string { return "things" }

func (things) Apply(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
	if ev.Type == "Bad" {
		return rouse.Permanent(context.DeadlineExceeded)
	}
	if ev.Type == "Away" && away.Load() {
		return rouse.Unavailable(context.DeadlineExceeded)
	}
	if ev.Type == "Later" {
		return rouse.NotBefore(time.Now().Add(time.Hour))
	}
	if ev.Type == "Flaky" {
		return rouse.RetryAfter(context.DeadlineExceeded, time.Hour)
	}
	return nil
}

// start runs a worker until it is stopped, or the test ends.
func (b *testBundle) start(cfg rouse.Config) *workertest.Worker {
	b.t.Helper()
	cfg.Projections = []rouse.Projection{things{}}
	return workertest.Start(b.t, b.pool(), cfg).WaitStarted()
}

// values are all series of a registry by name and labels, such as rouse_lag_events{partition=3,projection=things}; of a
// histogram, its count.
func values(t *testing.T, m *metrics.Metrics) map[string]float64 { return gathered(t, m.Registry()) }

// groupValues are values of a group.
func groupValues(t *testing.T, m *metrics.Group) map[string]float64 { return gathered(t, m.Registry()) }

func gathered(t *testing.T, from *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	all := map[string]float64{}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := family.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case series.GetCounter() != nil:
				all[name] = series.GetCounter().GetValue()
			case series.GetGauge() != nil:
				all[name] = series.GetGauge().GetValue()
			case series.GetHistogram() != nil:
				all[name] = float64(series.GetHistogram().GetSampleCount())
			}
		}
	}
	return all
}
