package demo

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// modes are the ways in which pgx can send a statement; poolers need the last two.
var modes = map[string]pgx.QueryExecMode{
	"prepared": pgx.QueryExecModeCacheStatement,
	"exec":     pgx.QueryExecModeExec,
	"simple":   pgx.QueryExecModeSimpleProtocol,
}

// poolIn opens a pool in one mode on a database that has the table.
func poolIn(t *testing.T, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(testdb.New(t).URL)
	require.NoError(t, err)
	cfg.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, Ensure(t.Context(), pool))
	return pool
}

func mustExec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err, sql)
}

// log appends events of one type of aggregate, versions 1 to n of each of the ids in turn, and returns them in order.
func log(t *testing.T, pool *pgxpool.Pool, n int, ids ...string) []eventstore.Event {
	t.Helper()
	for version := 1; version <= n; version++ {
		for _, id := range ids {
			mustExec(t, pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', $1, $2, 'X', '{}')`, id, version)
		}
	}
	rows, err := pool.Query(t.Context(), "select global_position, event_id::text, aggregate_type, aggregate_id, aggregate_version, created_at from events order by global_position")
	require.NoError(t, err)
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ev eventstore.Event, err error) {
		var id string
		if err = row.Scan(&ev.GlobalPosition, &id, &ev.AggregateType, &ev.AggregateID, &ev.AggregateVersion, &ev.CreatedAt); err == nil {
			ev.ID, err = eventstore.ParseID(id)
		}
		return ev, err
	})
	require.NoError(t, err)
	return events
}

// handle hands batches to a projection as a worker does.
func handle(t *testing.T, pool *pgxpool.Pool, label string, batches ...[]eventstore.Event) {
	t.Helper()
	for _, events := range batches {
		var batch pgx.Batch
		batch.Queue("begin")
		require.NoError(t, Projection{Label: label}.ApplyBatch(t.Context(), &batch, events))
		require.LessOrEqual(t, batch.Len(), 2, "one statement for a batch")
		batch.Queue("commit")
		require.NoError(t, pool.SendBatch(t.Context(), &batch).Close())
	}
}

// written lists the rows of the table in the order of n.
func written(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select format('%s %s/%s v%s by %s, %s', l.global_position, l.aggregate_type, l.aggregate_id, l.aggregate_version, l.worker,
		(l.event_id, l.appended_at) = (e.event_id, e.created_at) and l.handled_at >= l.appended_at) from demo_log l join events e using (global_position) order by n`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

func TestEveryHandlingHasARowInTheOrderOfHandling(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := poolIn(t, mode)
			events := log(t, pool, 2, "a", "it's \"odd\", {\\}")
			handle(t, pool, "first", events[2:], nil)
			require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return Projection{Label: "second"}.Apply(t.Context(), tx, events[0]) }))
			back := slices.Clone(events[:3])
			slices.Reverse(back)
			handle(t, pool, "third", back)
			assert.Equal(t, []string{
				"3 order/a v2 by first, t", "4 order/it's \"odd\", {\\} v2 by first, t",
				"1 order/a v1 by second, t",
				"3 order/a v2 by third, t", "2 order/it's \"odd\", {\\} v1 by third, t", "1 order/a v1 by third, t",
			}, written(t, pool))
		})
	}
}

func TestManyProcessesCreateTheTableAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = Ensure(context.Background(), db.Pool) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// TestJudge: each fault is found, and as what it is.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		tamper string
		want   Verdict
	}{
		{"all in order", "select", Verdict{Appended: 6, Handled: 6}},
		{"an event that was left out", "delete from demo_log where global_position = 3", Verdict{Appended: 6, Handled: 5, Lost: 1}},
		{"nothing was handled", "truncate demo_log", Verdict{Appended: 6, Lost: 6}},
		{"nothing was appended", "truncate demo_log, events", Verdict{}},
		{
			"an event that was handled again, by another worker and much later",
			copyRow + "where global_position = 1", Verdict{Appended: 6, Handled: 6, Doubled: 1},
		},
		{"everything twice and a part three times", copyRow + ";" + copyRow + "where n <= 3", Verdict{Appended: 6, Handled: 6, Doubled: 9}},
		{
			"lost and doubled do not make up for each other",
			copyRow + "where global_position = 1; delete from demo_log where global_position = 3", Verdict{Appended: 6, Handled: 5, Lost: 1, Doubled: 1},
		},
		{
			"a version that was handled before the one below it",
			"update demo_log set n = default where global_position = 3", Verdict{Appended: 6, Handled: 6, OutOfOrder: 1},
		},
		{"two aggregates, whose order does not matter", "update demo_log set n = default where aggregate_id = 'a'", Verdict{Appended: 6, Handled: 6}},
		{
			"all backwards",
			"create temp table back on commit drop as select * from demo_log order by n desc; truncate demo_log;" +
				"insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at)" +
				"select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at from back order by n desc",
			Verdict{Appended: 6, Handled: 6, OutOfOrder: 4},
		},
		{
			"a row of an event that does not exist",
			"insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at)" +
				"values (7, gen_random_uuid(), 'order', 'a', 4, 'w', now())",
			Verdict{Appended: 6, Handled: 6, Stray: 1},
		},
		{"a row that does not agree with its event", "update demo_log set aggregate_version = 9 where global_position = 2", Verdict{Appended: 6, Handled: 5, Lost: 1, Stray: 1}},
		{"an event that vanished from the log", "delete from events where global_position = 6", Verdict{Appended: 5, Handled: 5, Stray: 1}},
		{
			"versions that are out of order in the log itself",
			"update events set aggregate_version = 10 - aggregate_version; update demo_log set aggregate_version = 10 - aggregate_version",
			Verdict{Appended: 6, Handled: 6, OutOfOrder: 4},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pool := poolIn(t, pgx.QueryExecModeCacheStatement)
			events := log(t, pool, 3, "a", "b")
			handle(t, pool, "w", events[:2], events[2:])
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			_, err = conn.Conn().PgConn().Exec(t.Context(), tc.tamper).ReadAll()
			conn.Release()
			require.NoError(t, err)
			v, err := Judge(t.Context(), pool)
			require.NoError(t, err)
			assert.Equal(t, tc.want, v)
			assert.Equal(t, tc.want.Lost+tc.want.Doubled+tc.want.OutOfOrder+tc.want.Stray == 0, v.Right())
		})
	}
}

// copyRow writes rows again, as another worker does that handles their events a second time.
const copyRow = `insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at)
	select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, 'another', appended_at from demo_log `

// TestSampleCountsWhatIsNew: also rows that become visible after later ones of another worker.
func TestSampleCountsWhatIsNew(t *testing.T) {
	t.Parallel()
	pool := poolIn(t, pgx.QueryExecModeCacheStatement)
	s := NewSampler([]string{"w0", "w1", "w2"})
	sample := func() Sample {
		t.Helper()
		out, err := s.Sample(t.Context(), pool)
		require.NoError(t, err)
		return out
	}
	assert.Equal(t, Sample{Handled: map[string]int64{"w0": 0, "w1": 0, "w2": 0}}, sample())

	events := log(t, pool, 3, "a", "b")
	slow, err := pool.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, Projection{Label: "w0"}.Apply(t.Context(), slow, events[0])) // takes the first n
	handle(t, pool, "w1", events[1:4])
	first := sample()
	assert.EqualValues(t, 6, first.Appended)
	assert.Equal(t, map[string]int64{"w0": 0, "w1": 3, "w2": 0}, first.Handled)
	require.NoError(t, slow.Commit(t.Context()))
	handle(t, pool, "w1", events[4:5])
	second := sample()
	assert.EqualValues(t, 6, second.Appended)
	assert.Equal(t, map[string]int64{"w0": 1, "w1": 4, "w2": 0}, second.Handled)
	assert.Equal(t, second.Handled, sample().Handled)
}

func TestLatency(t *testing.T) {
	t.Parallel()
	pool := poolIn(t, pgx.QueryExecModeCacheStatement)
	none, err := WholeLatency(t.Context(), pool, 0)
	require.NoError(t, err)
	assert.Equal(t, Latency{}, none)

	handle(t, pool, "w", log(t, pool, 50, "a", "b"))
	mustExec(t, pool, "update demo_log set appended_at = handled_at - global_position * interval '1 millisecond'")
	whole, err := WholeLatency(t.Context(), pool, 0)
	require.NoError(t, err)
	assert.InDelta(t, 50, *whole.P50, 0.01)
	assert.InDelta(t, 99, *whole.P99, 0.01)
	late, err := WholeLatency(t.Context(), pool, 80)
	require.NoError(t, err)
	assert.InDelta(t, 90, *late.P50, 0.01)

	// A sample has the last seconds only.
	mustExec(t, pool, "update demo_log set handled_at = handled_at - interval '1 hour'")
	s := NewSampler([]string{"w"})
	recent, err := s.Sample(t.Context(), pool)
	require.NoError(t, err)
	assert.Equal(t, Latency{}, recent.Latency)
	mustExec(t, pool, "update demo_log set handled_at = clock_timestamp() + interval '1 minute', appended_at = clock_timestamp() + interval '59 seconds' where global_position = 7")
	recent, err = s.Sample(t.Context(), pool)
	require.NoError(t, err)
	assert.InDelta(t, time.Second.Milliseconds(), *recent.Latency.P50, 1)
	s.After = 7
	recent, err = s.Sample(t.Context(), pool)
	require.NoError(t, err)
	assert.Equal(t, Latency{}, recent.Latency)
}

// TestPlans: watching must cost the same however much there is.
func TestPlans(t *testing.T) {
	t.Parallel()
	pool := poolIn(t, pgx.QueryExecModeExec)
	mustExec(t, pool, `insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at, handled_at)
		select n, gen_random_uuid(), 'order', 'a', n, 'w' || n % 3, now() - interval '1 hour', now() - interval '1 hour' from generate_series(1, 50000) n`)
	mustExec(t, pool, "analyze demo_log")
	for index, query := range map[string][]any{
		"demo_log_worker_n":   {newRowsSQL, []string{"w0", "w1"}, []int64{49_000, 49_000}},
		"demo_log_handled_at": {latencySQL, int64(1000), 2.0},
	} {
		rows, err := pool.Query(t.Context(), "explain "+query[0].(string), query[1:]...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		assert.Contains(t, plan, index)
		assert.NotContains(t, plan, "Seq Scan")
	}
}
