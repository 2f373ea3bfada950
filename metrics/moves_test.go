package metrics_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/metrics"
	"github.com/rouse-es/rouse/projection"
)

// moves watches the metrics of one worker.
type moves struct {
	*testBundle
	m    *metrics.Metrics
	seen map[string]bool // names, without labels, that were seen to move
}

// until waits for a series to be as wanted.
func (v *moves) until(series string, as func(float64) bool) {
	v.t.Helper()
	var now float64
	defer func() {
		if v.t.Failed() {
			v.t.Logf("%s is %v", series, now)
		}
	}()
	testdb.Eventually(v.t, patience, series, func() (bool, error) {
		value, there := values(v.t, v.m)[series]
		now = value
		return there && as(value), nil
	})
	name, _, _ := strings.Cut(series, "{")
	v.seen[name] = true
}

// rises waits for a series to be more than it was before a cause.
func (v *moves) rises(cause func(), series ...string) {
	v.t.Helper()
	before := values(v.t, v.m)
	cause()
	for _, s := range series {
		v.until(s, func(now float64) bool { return now > before[s] })
	}
}

// known is a registry of one type, of which there are no events.
func known() *events.Registry {
	r := &events.Registry{}
	events.Register[struct{}]("Known", 1, events.In(r))
	return r
}

func is(want float64) func(float64) bool { return func(now float64) bool { return now == want } }

// TestEveryMetricMoves when its cause happens, and none is left out.
func TestEveryMetricMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	scraping := b.pool()
	v := &moves{testBundle: b, m: metrics.New(scraping), seen: map[string]bool{}}
	w := b.start(rouse.Config{Observer: v.m.Observer()})
	v.m.Watch(w.Worker)

	v.until("rouse_worker_alive", is(1))
	v.until("rouse_worker_ready", is(1))
	v.until("rouse_listener_connected", is(1))
	v.until("rouse_push_mode{mode=quiet}", is(1))
	v.until("rouse_push_mode{mode=polling}", is(0))
	v.until("rouse_projection_state{projection=things,state=live}", is(1))
	v.until("rouse_leases{projection=things}", is(32))
	v.until("rouse_leases_gained_total{projection=things}", is(32))
	v.until("rouse_workers_alive", is(1))
	v.until("rouse_database_up", is(1))
	v.rises(func() { // the listener changes its mode while the reader waits
		v.exec(`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = 1919907155 and granted
			and database = (select oid from pg_database where datname = current_database())`)
	}, "rouse_wakes_total{source=probe}")
	v.until("rouse_push_mode{mode=quiet}", is(1))

	v.rises(func() { b.append("Good", "a", 1) },
		"rouse_events_handled_total{projection=things}", "rouse_batches_total{projection=things}",
		"rouse_batch_duration_seconds{projection=things}", "rouse_append_to_handled_seconds{projection=things}",
		"rouse_head_position", "rouse_wakes_total{source=push}")
	v.rises(func() { b.append("Good", "a", 3) }, "rouse_version_jumps_total{projection=things}")
	v.rises(func() { b.append("Bad", "b", 1) },
		"rouse_failed_attempts_total{projection=things}", "rouse_events_given_up_total{projection=things,what=park}",
		"rouse_parked_events{projection=things}", "rouse_parked_oldest_seconds{projection=things}")

	parked := values(b.t, v.m)["rouse_parked_events{projection=things}"]
	v.rises(func() { b.append("Flaky", "f", 1) },
		"rouse_failed_attempts_total{projection=things}", "rouse_retrying_events{projection=things}", "rouse_retrying_oldest_seconds{projection=things}")
	require.Equal(b.t, parked, values(b.t, v.m)["rouse_parked_events{projection=things}"], "it waits for nobody")

	retrying, failed := values(b.t, v.m)["rouse_retrying_events{projection=things}"], values(b.t, v.m)["rouse_failed_attempts_total{projection=things}"]
	v.rises(func() { b.append("Later", "l", 1) }, "rouse_deferred_events{projection=things}")
	require.Equal(b.t, retrying, values(b.t, v.m)["rouse_retrying_events{projection=things}"], "it has not failed")
	require.Equal(b.t, failed, values(b.t, v.m)["rouse_failed_attempts_total{projection=things}"])
	v.until("rouse_deferred_overdue_seconds{projection=things}", is(0))

	away.Store(true)
	v.until("rouse_waiting_seconds{projection=things}", is(0))
	v.rises(func() { b.append("Away", "w", 1) },
		"rouse_waiting_seconds{projection=things}", "rouse_projection_state{projection=things,state=waiting}")
	away.Store(false)
	v.until("rouse_waiting_seconds{projection=things}", is(0))
	v.until("rouse_projection_state{projection=things,state=waiting}", is(0))

	v.horizon()
	v.snapshot()
	v.missedPush()

	v.rises(func() {
		b.exec("update projection_checkpoints set epoch = epoch + 1")
		b.append("Good", "c", 1)
	}, "rouse_batches_fenced_total{projection=things}")

	v.rises(func() {
		strange := projection.New("strange", projection.Events(known()), projection.Ignore[struct{}](), projection.Unknown(projection.Pass))
		observer := rouse.Observer{Unknown: v.m.Observer().Unknown}
		require.NoError(t, workertest.Drain(t, b.pool(), rouse.Config{Projections: []rouse.Projection{strange}, Observer: observer}))
	}, "rouse_unknown_events_total{projection=strange}")

	other := b.start(rouse.Config{Label: "other"})
	v.until("rouse_leases_lost_total{projection=things}", is(16))
	v.until("rouse_workers_alive", is(2))
	other.MustStop()
	v.until("rouse_leases{projection=things}", is(32))

	require.NoError(t, projection.Pause(context.Background(), b.Pool, "things"))
	v.until("rouse_projection_halted{projection=things}", is(1))
	v.until("rouse_projection_condition{condition=paused,projection=things}", is(1))
	v.until("rouse_projection_condition{condition=running,projection=things}", is(0))
	v.until("rouse_projection_state{projection=things,state=paused}", is(1))
	require.NoError(t, projection.Resume(context.Background(), b.Pool, "things"))
	v.until("rouse_projection_halted{projection=things}", is(0))

	w.MustStop()
	v.exec("update parked_events set due_at = clock_timestamp() where event_type = 'Later'")
	v.until("rouse_deferred_overdue_seconds{projection=things}", func(now float64) bool { return now > 0 })
	v.until("rouse_worker_alive", is(0))
	v.until("rouse_partitions_unowned{projection=things}", is(32))
	require.NoError(t, projection.Pause(context.Background(), b.Pool, "things"))
	v.until("rouse_partitions_unowned{projection=things}", is(0)) // nobody is to own them, and the alert is for those that are missed
	require.NoError(t, projection.Resume(context.Background(), b.Pool, "things"))
	v.until("rouse_partitions_unowned{projection=things}", is(32))
	v.until("rouse_projection_condition{condition=unowned,projection=things}", is(1))
	b.exec("update projections set state = 'stopped', stopped_at = clock_timestamp()") // a worker has given it up, and is gone
	v.until("rouse_projection_condition{condition=stopped,projection=things}", is(1))
	v.until("rouse_partitions_unowned{projection=things}", is(0))
	require.NoError(t, projection.Rename(context.Background(), b.Pool, "things", "others"))
	v.until("rouse_projection_condition{condition=retired,projection=things}", is(1))
	v.until("rouse_projection_condition{condition=stopped,projection=others}", is(1))

	scraping.Close()
	v.until("rouse_database_up", is(0))
	v.until("rouse_database_errors_total", func(n float64) bool { return n > 0 })
	page := httptest.NewRecorder()
	v.m.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, 200, page.Code)
	assert.Contains(t, page.Body.String(), "rouse_events_handled_total", "the rest is kept")
	assert.NotContains(t, page.Body.String(), "rouse_lag_events{", "and what is not known is not shown")

	for _, name := range registered(v.m) {
		assert.True(t, v.seen[name], "%s was not seen to move", name)
	}
}

// snapshot has a session look at the database of a while ago, while saves go on.
func (v *moves) snapshot() {
	conn := v.Conn(v.t)
	for _, sql := range []string{"begin isolation level repeatable read", "select count(*) from events"} {
		_, err := conn.Exec(context.Background(), sql)
		require.NoError(v.t, err)
	}
	v.exec("alter table projection_checkpoints set (autovacuum_enabled = false)")
	v.exec("update projection_checkpoints set updated_at = clock_timestamp()")
	v.until("rouse_oldest_snapshot_seconds", func(s float64) bool { return s > 0 })
	v.until("rouse_oldest_snapshot_transactions", func(n float64) bool { return n > 0 })
	v.until("rouse_checkpoints_dead_rows", func(n float64) bool { return n > 0 })
	v.exec("alter table projection_workers set (autovacuum_enabled = false)")
	v.until("rouse_workers_dead_rows", func(n float64) bool { return n > 0 })
	_, err := conn.Exec(context.Background(), "commit")
	require.NoError(v.t, err)
}

// horizon has an append stay open with a committed one behind it.
func (v *moves) horizon() {
	ctx := context.Background()
	conn := v.Conn(v.t)
	tx, err := conn.Begin(ctx)
	require.NoError(v.t, err)
	_, err = tx.Exec(ctx, "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'slow', 1, 'Slow', '{}')")
	require.NoError(v.t, err)
	v.rises(func() { v.append("Good", "behind", 1) }, "rouse_blocked_reads_total")
	v.until("rouse_horizon_holds", is(1))
	v.until("rouse_horizon_hold_seconds", func(s float64) bool { return s >= 1 })
	v.until("rouse_horizon_hold_pid", is(float64(conn.PgConn().PID())))
	var partition int
	require.NoError(v.t, v.Pool.QueryRow(ctx, `select e.slot & (p.partitions - 1) from events e, projections p
		where e.aggregate_id = 'behind' and p.projection_name = 'things'`).Scan(&partition))
	of := fmt.Sprintf("{partition=%d,projection=things}", partition)
	v.until("rouse_lag_events"+of, func(n float64) bool { return n > 0 })
	v.until("rouse_lag_seconds"+of, func(s float64) bool { return s > 0 })
	require.NoError(v.t, tx.Commit(ctx))
	v.until("rouse_horizon_holds", is(0))
	v.until("rouse_horizon_hold_pid", is(0))
	v.until("rouse_lag_events"+of, is(0))
}

// missedPush has the trigger stand and say nothing.
func (v *moves) missedPush() {
	var name, definition string
	err := v.Pool.QueryRow(context.Background(), `select p.proname, pg_get_functiondef(p.oid) from pg_trigger t join pg_proc p on p.oid = t.tgfoid
		where t.tgrelid = 'events'::regclass and t.tgname = 'rouse_append_after'`).Scan(&name, &definition)
	require.NoError(v.t, err)
	v.exec("create or replace function " + name + "() returns trigger language plpgsql as $$ begin return null; end $$")
	v.rises(func() { v.append("Good", "untold", 1) }, "rouse_pushes_missed_total", "rouse_wakes_total{source=poll}")
	v.exec(definition)
}

var fqName = regexp.MustCompile(`fqName: "(rouse_[a-z_]+)"`)

// registered are the names of all metrics of Rouse in the registry.
func registered(m *metrics.Metrics) []string {
	var names []string
	for _, d := range metrics.Describe(m) {
		if found := fqName.FindStringSubmatch(d.String()); found != nil {
			names = append(names, found[1])
		}
	}
	return names
}
