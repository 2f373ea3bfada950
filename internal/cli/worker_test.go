package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// requireComplete checks that every event was counted once and in turn.
func requireComplete(t *testing.T, db *testdb.DB, events int64) {
	t.Helper()
	v, err := scaling.Judge(t.Context(), db.Pool)
	require.NoError(t, err)
	require.True(t, v.Complete(), "%+v", v)
	require.Equal(t, events, v.Counted)
}

// status is what `rouse status --json` says.
func status(t *testing.T, db *testdb.DB) report.Report {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(mustRouse(t, db, "status", "--json")))
	dec.DisallowUnknownFields()
	var r report.Report
	require.NoError(t, dec.Decode(&r))
	return r
}

func TestOnceHandlesWhatIsThereAndExits(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "1200", "--aggregates", "30")
	require.Empty(t, mustRouse(t, db, "worker", "--once", "--worker-id", "me"), "logs are not data")
	requireComplete(t, db, 1200)
	assert.Equal(t, 1200, value[int](t, db.Pool, "select sum(events)::int from scaling_activity where worker_id = 'me'"))
	mustRouse(t, db, "worker", "--once")
	requireComplete(t, db, 1200)
	mustRouse(t, db, "append", "--count", "10")
	mustRouse(t, db, "worker", "--once", "--sync-commit", "--poll-only", "--batch-size", "3")
	requireComplete(t, db, 1210)
}

func TestManyWorkersStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "600", "--aggregates", "60")
	const total = 4
	var workers []*workertest.Program
	for i := range total {
		workers = append(workers, startRouse(t, on(db), "worker", "--once", "--worker-id", fmt.Sprintf("pod-%d", i), "--total-workers", fmt.Sprint(total)))
	}
	for _, w := range workers {
		require.Zero(t, w.Wait(t))
	}
	requireComplete(t, db, 600)
}

// TestStaticWorkersShareByNumber: each handles the partitions of its number and no other, and both stop in order.
func TestStaticWorkersShareByNumber(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	var workers []*workertest.Program
	for i := range 2 {
		workers = append(workers, startRouse(t, append(on(db), fmt.Sprintf("WORKER_ID=web-%d", i), "TOTAL_WORKERS=2"), "worker"))
	}
	testdb.Eventually(t, processTimeout, "both to own their partitions", func() (bool, error) {
		r := status(t, db)
		return len(r.Projections) == 1 && len(r.Projections[0].Partitions) == 32 && r.Projections[0].Unowned == 0, nil
	})
	mustRouse(t, db, "append", "--count", "400", "--aggregates", "60")
	testdb.Eventually(t, processTimeout, "all to be counted", func() (bool, error) {
		v, err := scaling.Judge(t.Context(), db.Pool)
		return v.Complete(), err
	})
	requireComplete(t, db, 400)
	testdb.Eventually(t, processTimeout, "both to say that they are live, at the end of the log", func() (bool, error) {
		r := status(t, db)
		return !slices.ContainsFunc(r.Projections[0].Partitions, func(p report.Partition) bool { return p.State != "live" || p.Checkpoint != r.Head }), nil
	})
	assert.Zero(t, value[int](t, db.Pool, `select count(*) from scaling_activity s join events e using (aggregate_type, aggregate_id)
		where s.worker_id <> 'web-' || (e.slot & 31) % 2`))
	assert.Equal(t, 2, value[int](t, db.Pool, "select count(distinct worker_id) from scaling_activity"))
	assert.NotZero(t, value[int](t, db.Pool, "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'rouse worker web-0'"))

	r := status(t, db)
	for _, p := range r.Projections[0].Partitions {
		assert.Equal(t, fmt.Sprintf("web-%d", p.Partition%2), p.Owner)
	}
	require.Len(t, r.Workers, 2)
	assert.Equal(t, "web-1", r.Workers[1].Label)
	assert.Equal(t, "static", r.Workers[1].Assignment)
	assert.Equal(t, []int{1, 2}, []int{*r.Workers[1].Index, *r.Workers[1].Total})
	assert.True(t, r.Workers[1].Alive)
	text := mustRouse(t, db, "status")
	assert.Contains(t, text, "0,2,...,30")
	assert.Contains(t, text, "static 1/2")

	// One stops: what was its is shown as unowned, and the other keeps its own.
	workers[0].Signal(t, syscall.SIGTERM)
	require.Zero(t, workers[0].Wait(t))
	assert.Contains(t, workers[0].Stderr.String(), "worker stopped")
	r = status(t, db)
	assert.Equal(t, 16, r.Projections[0].Unowned)
	for _, p := range r.Projections[0].Partitions {
		if p.Partition%2 == 0 {
			assert.Equal(t, report.Unowned, p.State)
			assert.Empty(t, p.Owner)
		} else {
			assert.Equal(t, "live", p.State)
		}
	}
	workers[1].Signal(t, syscall.SIGINT)
	require.Zero(t, workers[1].Wait(t))
	assert.Empty(t, status(t, db).Workers)
}

// TestSecondSignal: the first lets the batch in hand finish; whoever does not want to wait for it gives a second.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once")
	mustRouse(t, db, "append", "--count", "100")
	blocker := db.Conn(t)
	for _, sql := range []string{"begin", "lock table scaling_activity in access exclusive mode"} {
		_, err := blocker.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	w := startRouse(t, on(db), "worker", "--stop-timeout", "1h", "--handler-timeout", "1h")
	testdb.Eventually(t, processTimeout, "a batch to be in hand", func() (bool, error) {
		return value[bool](t, db.Pool, "select exists (select from pg_locks where relation = 'scaling_activity'::regclass and not granted)"), nil
	})
	w.Signal(t, syscall.SIGTERM)
	select {
	case <-w.Exited:
		t.Fatal("it did not wait for the batch in hand")
	case <-time.After(time.Second):
	}
	w.Signal(t, syscall.SIGTERM)
	require.Equal(t, 130, w.Wait(t))

	_, err := blocker.Exec(t.Context(), "rollback")
	require.NoError(t, err)
	mustRouse(t, db, "worker", "--once")
	requireComplete(t, db, 100)
}

// TestStoppedOnce says what every command says that a signal has ended too early.
func TestStoppedOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once")
	mustRouse(t, db, "append", "--count", "100")
	mustExec(t, db.Pool, "alter table scaling_activity add constraint nobody check (events < 0)")
	w := startRouse(t, on(db), "worker", "--once")
	testdb.Eventually(t, processTimeout, "an event to be tried again", func() (bool, error) {
		return strings.Contains(w.Stderr.String(), "handling failed"), nil
	})
	w.Signal(t, syscall.SIGTERM)
	requireFault(t, result{w.Wait(t), w.Stdout.String(), w.Stderr.String()}, 1, "stopped by a signal before the work was done")
}

func TestStatusWhileNoWorkerRuns(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	assert.Contains(t, mustRouse(t, db, "status"), "no projection has run here yet")
	mustRouse(t, db, "worker", "--once")
	mustRouse(t, db, "append", "--count", "25")
	r := status(t, db)
	require.Len(t, r.Projections, 1)
	assert.EqualValues(t, 25, r.Head)
	assert.EqualValues(t, 25, r.Projections[0].LagEvents)
	assert.Positive(t, r.Projections[0].LagSeconds)
	assert.Equal(t, 32, r.Projections[0].Unowned)
	text := mustRouse(t, db, "status")
	assert.Regexp(t, `0-31 +0 +25 .* unowned +\d+ +unowned`, text)
	assert.Contains(t, text, "no worker runs")
	assert.Len(t, regexp.MustCompile(`(?m) unowned +\d+ +unowned$`).FindAllString(mustRouse(t, db, "status", "--partitions"), -1), 32)
}

// TestStatusOfAWorkerWithALimit: what it may not take is said to be nobody's, with what to do about it.
func TestStatusOfAWorkerWithALimit(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	w := startRouse(t, on(db), "worker", "--max-partitions", "8", "--worker-id", "small")
	testdb.Eventually(t, processTimeout, "the worker to be live", func() (bool, error) {
		r := status(t, db)
		return len(r.Projections) == 1 && len(r.Workers) == 1 && r.Workers[0].States[scaling.Name] == "live", nil
	})
	text := mustRouse(t, db, "status")
	assert.Contains(t, text, "24 of them unowned, 24 of them nobody may take (start more workers, or raise --max-partitions)")
	assert.Regexp(t, `(?m)^ +\S+ +0 +0 +0 s +small +1 +live$`, text)
	assert.Regexp(t, `(?m)^WORKER .* HEARTBEAT +UPTIME +STATES$`, text)
	assert.Regexp(t, `(?m)^small +\w+ +elastic, max 8 .* s ago +[\d.]+ s +scalable_projection: live$`, text)
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
}

func TestEpochsOfPartitionsThatStandAlike(t *testing.T) {
	t.Parallel()
	all := fold([]report.Partition{{Partition: 0, Epoch: 3}, {Partition: 1, Epoch: 7}, {Partition: 2, Epoch: 5}, {Partition: 3, Epoch: 9, State: "live"}}, false)
	require.Len(t, all, 2)
	assert.Equal(t, "3-7", all[0].epochs())
	assert.Equal(t, "9", all[1].epochs())
}

// TestStatusJSON fixes the names that scripts use.
func TestStatusJSON(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	w := startRouse(t, on(db), "worker")
	testdb.Eventually(t, processTimeout, "the worker to be live", func() (bool, error) {
		r := status(t, db)
		return len(r.Projections) == 1 && len(r.Workers) == 1 && r.Workers[0].States[scaling.Name] == "live", nil
	})
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(mustRouse(t, db, "status", "--json")), &doc))
	names := func(v any) []string {
		var out []string
		for name := range v.(map[string]any) {
			out = append(out, name)
		}
		return out
	}
	first := func(v any, name string) any { return v.(map[string]any)[name].([]any)[0] }
	delete(doc, "oldest_snapshot") // there only while a session holds one
	assert.ElementsMatch(t, []string{"head", "projections", "workers", "open_appends", "sees_snapshots", "dead_checkpoints", "dead_workers"}, names(doc))
	projection := first(doc, "projections")
	assert.ElementsMatch(t, []string{"name", "state", "stopped", "lag_events", "lag_seconds", "unowned", "nobody_may_take", "version", "retrying", "deferred", "parked", "partitions"}, names(projection))
	for _, what := range []string{"retrying", "parked"} {
		assert.ElementsMatch(t, []string{"events", "aggregates", "oldest_age_seconds"}, names(projection.(map[string]any)[what]))
	}
	assert.ElementsMatch(t, []string{"partition", "checkpoint", "epoch", "lag_events", "lag_seconds", "owner", "instance", "state"}, names(first(projection, "partitions")))
	assert.ElementsMatch(t, []string{"label", "instance", "host", "pid", "alive", "assignment", "index", "total", "max_partitions", "leaving", "events_handled", "events_per_second",
		"mode", "states", "last_wake_age_seconds", "heartbeat_age_seconds", "uptime_seconds"}, names(first(doc, "workers")))
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
}

func TestStatusNamesAnOpenAppend(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	holder := db.Conn(t)
	for _, sql := range []string{
		"set application_name = 'night job'", "begin",
		"insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('job', '1', 1, 'X', '{}')",
	} {
		_, err := holder.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	mustRouse(t, db, "append", "--count", "5")
	testdb.Eventually(t, processTimeout, "the open append to be named", func() (bool, error) {
		text := mustRouse(t, db, "status")
		return strings.Contains(text, fmt.Sprintf("session %d of %q", holder.PgConn().PID(), "night job")) &&
			strings.Contains(text, "holds back everything after position 0"), nil
	})
}

// A listen address is of the same database, or a fault of whoever set it up.
func TestWorkerRefusesAListenAddressOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	db, other := testdb.New(t), testdb.New(t)
	requireFault(t, runRouse(t, append(on(db), "ROUSE_LISTEN_URL="+other.URL), "worker", "--once"), exitUsage,
		"leads to another database than the pool", "ROUSE_LISTEN_URL")
	missing := with(t, db.URL, func(u *url.URL) { u.Path, u.Host = "/nowhere", "localhost:"+u.Port() })
	requireFault(t, runRouse(t, append(on(db), "ROUSE_LISTEN_URL="+missing), "worker", "--once"), exitDatabase, "at localhost:", "nowhere")
}
