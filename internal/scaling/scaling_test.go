package scaling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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

// poolIn opens a pool on the test's database in one mode.
func poolIn(t *testing.T, db *testdb.DB, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	cfg.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, Ensure(t.Context(), pool))
	return pool
}

// row is one row of scaling_activity.
type row struct {
	Type, ID                        string
	Events, LastVersion, OutOfOrder int64
	Worker                          string
}

func table(t *testing.T, pool *pgxpool.Pool) []row {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select aggregate_type, aggregate_id, events, last_version, out_of_order, worker_id
		from scaling_activity order by aggregate_type, aggregate_id`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	require.NoError(t, err)
	return all
}

func events(id string, versions ...int64) []eventstore.Event {
	var out []eventstore.Event
	for _, v := range versions {
		out = append(out, eventstore.Event{AggregateType: "order", AggregateID: id, AggregateVersion: v})
	}
	return out
}

// handle hands batches to a projection as a worker does.
func handle(t *testing.T, pool *pgxpool.Pool, p Projection, batches ...[]eventstore.Event) {
	t.Helper()
	for _, b := range batches {
		var batch pgx.Batch
		batch.Queue("begin")
		require.NoError(t, p.ApplyBatch(t.Context(), &batch, b))
		require.LessOrEqual(t, batch.Len(), 2, "one statement for a batch")
		batch.Queue("commit")
		require.NoError(t, pool.SendBatch(t.Context(), &batch).Close())
	}
}

func TestEveryEventCountsOnceAndVersionsOutOfTurnAreCounted(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := poolIn(t, testdb.New(t), mode)
			handle(t, pool, Projection{Label: "first"},
				append(events("whole", 1, 2, 3), append(events("late start", 3, 4), events("it's \"odd\", {\\}", 1)...)...),
				nil,
				append(events("hole between batches", 1), events("hole in a batch", 1, 2, 4, 5)...),
			)
			handle(t, pool, Projection{Label: "second"},
				append(events("whole", 4), events("hole between batches", 3, 4)...),
				events("hole in a batch", 5, 6), // 5 again is out of turn too
			)
			assert.Equal(t, []row{
				{"order", "hole between batches", 3, 4, 1, "second"},
				{"order", "hole in a batch", 6, 6, 2, "second"},
				{"order", "it's \"odd\", {\\}", 1, 1, 0, "first"},
				{"order", "late start", 2, 4, 1, "first"},
				{"order", "whole", 4, 4, 0, "second"},
			}, table(t, pool))
		})
	}
}

func TestOneByOneCountsAsInABatch(t *testing.T) {
	t.Parallel()
	all := append(append(events("a", 1, 2, 4), events("b", 2, 1)...), events("a", 5, 5)...)
	whole, single := testdb.New(t).Pool, testdb.New(t).Pool
	require.NoError(t, Ensure(t.Context(), whole))
	require.NoError(t, Ensure(t.Context(), single))
	handle(t, whole, Projection{Label: "w"}, all)
	for _, ev := range all {
		require.NoError(t, pgx.BeginFunc(t.Context(), single, func(tx pgx.Tx) error {
			return Projection{Label: "w"}.Apply(t.Context(), tx, ev)
		}))
	}
	assert.Equal(t, table(t, whole), table(t, single))
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
	assert.Empty(t, table(t, db.Pool))
}

func TestEnsureTakesNoLockWhereTheTableIs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	require.NoError(t, Ensure(t.Context(), db.Pool))
	// The migration lock is held by another session; a start must not wait for it.
	_, err := db.Conn(t).Exec(t.Context(), "select pg_advisory_lock(1919907149, hashtext('public'))")
	require.NoError(t, err)
	require.NoError(t, Ensure(t.Context(), db.Pool))
}

// TestPlan: the lookup of what was there must stay a probe of the primary key, whether the table has statistics or not. In turn, it is
// the upsert's own.
func TestPlan(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	pool := poolIn(t, db, pgx.QueryExecModeExec)
	_, err := pool.Exec(t.Context(), `insert into scaling_activity select 'order', 'o-' || n, 1, 1, 0, 'w' from generate_series(1, 50000) n`)
	require.NoError(t, err)
	var inTurn []eventstore.Event
	for i := range 500 {
		inTurn = append(inTurn, events(fmt.Sprintf("o-%d", i), 2)...)
	}
	strayed := append(inTurn[:len(inTurn):len(inTurn)], events("o-7", 2)...)
	plan := func(batch []eventstore.Event) string {
		sql, args := Projection{}.statement(batch)
		rows, err := pool.Query(t.Context(), "explain "+sql, args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	for _, step := range []string{"select", "analyze scaling_activity"} {
		_, err := pool.Exec(t.Context(), step)
		require.NoError(t, err)
		assert.Contains(t, plan(strayed), "Index Scan using scaling_activity_pkey", "after %s", step)
		assert.NotContains(t, plan(strayed), "Seq Scan", "after %s", step)
		assert.Contains(t, plan(inTurn), "Conflict Arbiter Indexes: scaling_activity_pkey", "after %s", step)
		assert.NotRegexp(t, "(Seq|Index.*) Scan|Sort|Join|SubPlan", plan(inTurn), "after %s", step)
	}
}

// scene is a log of five events of two aggregates, of which the projection has counted all but the last.
func scene(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := testdb.New(t).Pool
	require.NoError(t, Ensure(t.Context(), pool))
	for _, sql := range []string{
		`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		 values ('order', 'a', 1, 'X', '{}'), ('order', 'a', 2, 'X', '{}'), ('order', 'b', 1, 'X', '{}'),
		        ('order', 'b', 2, 'X', '{}'), ('order', 'b', 3, 'X', '{}')`,
		`insert into projections (projection_name, partitions) values ('scalable_projection', 4)`,
		`insert into projection_checkpoints (projection_name, partition, last_global_position)
		 select 'scalable_projection', p, 4 from generate_series(0, 3) p`,
	} {
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	handle(t, pool, Projection{Label: "w"}, append(events("a", 1, 2), events("b", 1, 2)...))
	return pool
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, tamper    string
		want            Verdict
		right, complete bool
	}{
		{"what is not due yet is not lost", "select", Verdict{Appended: 5, Due: 4, Counted: 4}, true, false},
		{
			"all is counted",
			"update projection_checkpoints set last_global_position = 5; update scaling_activity set events = 3 where aggregate_id = 'b'",
			Verdict{Appended: 5, Due: 5, Counted: 5}, true, true,
		},
		{
			"a checkpoint that has passed an event has lost it",
			"update projection_checkpoints set last_global_position = 5",
			Verdict{Appended: 5, Due: 5, Counted: 4, Lost: 1}, false, false,
		},
		{
			"an aggregate that is not there at all is lost",
			"delete from scaling_activity where aggregate_id = 'a'",
			Verdict{Appended: 5, Due: 4, Counted: 2, Lost: 2}, false, false,
		},
		{
			"lost and doubled do not make up for each other",
			"update scaling_activity set events = events + case aggregate_id when 'a' then 1 else -1 end",
			Verdict{Appended: 5, Due: 4, Counted: 4, Lost: 1, Doubled: 1}, false, false,
		},
		{
			"what was counted without an event is doubled",
			"insert into scaling_activity values ('order', 'ghost', 1, 1, 0, 'w')",
			Verdict{Appended: 5, Due: 4, Counted: 5, Doubled: 1}, false, false,
		},
		{
			"versions out of turn",
			"update scaling_activity set out_of_order = 2 where aggregate_id = 'a'",
			Verdict{Appended: 5, Due: 4, Counted: 4, OutOfOrder: 2}, false, false,
		},
		{
			"nothing is due where the projection has never run",
			"truncate scaling_activity; delete from projections",
			Verdict{Appended: 5}, true, false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pool := scene(t)
			_, err := pool.Exec(t.Context(), tc.tamper)
			require.NoError(t, err)
			v, err := Judge(t.Context(), pool)
			require.NoError(t, err)
			assert.Equal(t, tc.want, v)
			assert.Equal(t, tc.right, v.Right())
			assert.Equal(t, tc.complete, v.Complete())
		})
	}
}

// TestHoweverVersionsComeTheyAreCounted: all orders of few versions, cut into batches in all ways, together with others that are in turn
// or that are not.
func TestHoweverVersionsComeTheyAreCounted(t *testing.T) {
	t.Parallel()
	const longest, highest = 4, 3
	var want []row
	batches := make([][2][]eventstore.Event, longest) // by place, without and with some that have strayed within the batch
	add := func(versions []int64, cuts int) {
		id := fmt.Sprint(versions, cuts)
		r := row{Type: "order", ID: id, Events: int64(len(versions)), LastVersion: versions[len(versions)-1], Worker: "w"}
		place, part, strayed := 0, []eventstore.Event(nil), 0
		for i, v := range versions {
			if i == 0 && v != 1 || i > 0 && v != versions[i-1]+1 {
				r.OutOfOrder++
			}
			if len(part) > 0 && v != versions[i-1]+1 {
				strayed = 1
			}
			part = append(part, events(id, v)...)
			if i == len(versions)-1 || cuts>>i&1 == 1 {
				batches[place][strayed] = append(batches[place][strayed], part...)
				place, part, strayed = place+1, nil, 0
			}
		}
		want = append(want, r)
	}
	var all func(versions []int64)
	all = func(versions []int64) {
		for cuts := range 1 << max(len(versions)-1, 0) {
			if len(versions) > 0 {
				add(slices.Clone(versions), cuts)
			}
		}
		for v := int64(1); v <= highest && len(versions) < longest; v++ {
			all(append(versions, v))
		}
	}
	all(nil)
	require.Len(t, want, 3+2*9+4*27+8*81)

	pool := poolIn(t, testdb.New(t), pgx.QueryExecModeCacheStatement)
	for _, b := range batches {
		handle(t, pool, Projection{Label: "w"}, b[0], b[1])
	}
	assert.ElementsMatch(t, want, table(t, pool))
}
