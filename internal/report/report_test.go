package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const projection = "orders"

// instances of the workers that the tests register.
const (
	instanceA = "01900000-0000-7000-8000-00000000000a"
	instanceB = "01900000-0000-7000-8000-00000000000b"
)

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// setup makes a projection of four partitions.
func setup(t *testing.T) *testdb.DB {
	t.Helper()
	db := testdb.New(t)
	_, err := partition.Ensure(t.Context(), db.Pool, projection, 4)
	require.NoError(t, err)
	return db
}

// worker registers a worker and gives it partitions.
func worker(t *testing.T, pool *pgxpool.Pool, m partition.Member, partitions ...int) {
	t.Helper()
	require.NoError(t, m.Heartbeat(t.Context(), pool))
	exec(t, pool, "update projection_checkpoints set owner = $1::text::uuid where partition = any ($2::int[])", m.Instance, partitions)
}

func read(t *testing.T, pool *pgxpool.Pool) Report {
	t.Helper()
	r, err := Read(t.Context(), pool)
	require.NoError(t, err)
	return r
}

// states are owner and state of every partition.
func states(r Report) []string {
	var out []string
	for _, p := range r.Projections[0].Partitions {
		out = append(out, fmt.Sprintf("%d %s %s", p.Partition, p.Owner, p.State))
	}
	return out
}

func appendEvents(t *testing.T, pool *pgxpool.Pool, id string, from, to int) {
	t.Helper()
	exec(t, pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'order', $1::text, n, 'X', '{}' from generate_series($2::int, $3::int) n`, id, from, to)
}

func TestAnEmptyDatabaseHasAReport(t *testing.T) {
	t.Parallel()
	r := read(t, testdb.New(t).Pool)
	assert.Equal(t, Report{Projections: []Projection{}, Retired: []Retired{}, Workers: []Worker{}, OpenAppends: []OpenAppend{}, SeesSnapshots: true}, r)
}

func TestPartitionsWithoutALivingOwnerAreUnowned(t *testing.T) {
	t.Parallel()
	db := setup(t)
	worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", Mode: "quiet", States: map[string]string{projection: "live"}}, 0, 1)
	worker(t, db.Pool, partition.Member{Instance: instanceB, Label: "b", Mode: "quiet", States: map[string]string{}}, 2)
	r := read(t, db.Pool)
	assert.Equal(t, []string{"0 a live", "1 a live", "2 b starting", "3  unowned"}, states(r))
	assert.Equal(t, 1, r.Projections[0].Unowned)

	exec(t, db.Pool, "update projection_workers set heartbeat_at = heartbeat_at - interval '1 hour' where label = 'a'")
	exec(t, db.Pool, "delete from projection_workers where label = 'b'")
	r = read(t, db.Pool)
	assert.Equal(t, []string{"0  unowned", "1  unowned", "2  unowned", "3  unowned"}, states(r))
	require.Len(t, r.Workers, 1)
	assert.False(t, r.Workers[0].Alive)
}

// TestUnownedIsWhatCanBeClaimed: who counts as dead here is who counts as dead when partitions are claimed.
func TestUnownedIsWhatCanBeClaimed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		presence      int32
		held          bool // the presence lock
		age           time.Duration
		wantClaimable bool
	}{
		{"fresh without presence", 0, false, 0, false},
		{"silent without presence", 0, false, time.Hour, true},
		{"presence gone", 7, false, 11 * time.Minute, true},
		{"present", 7, true, 11 * time.Minute, false},
		{"present, silent", 7, true, time.Hour, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := setup(t)
			// Half an hour: long enough that a server which has just started is not patient with it.
			worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", Presence: tc.presence, TTL: 30 * time.Minute}, 0, 1, 2, 3)
			exec(t, db.Pool, "update projection_workers set heartbeat_at = heartbeat_at - interval '1 second' * $1::float8", tc.age.Seconds())
			if tc.held {
				_, err := db.Conn(t).Exec(t.Context(), "select pg_advisory_lock(1919907152, $1::int)", tc.presence)
				require.NoError(t, err)
			}
			wantUnowned := 0
			if tc.wantClaimable {
				wantUnowned = 4
			}
			assert.Equal(t, wantUnowned, read(t, db.Pool).Projections[0].Unowned)

			token, err := catchup.CurrentToken(t.Context(), db.Pool)
			require.NoError(t, err)
			claim := partition.Claim{Projection: projection, Instance: instanceB, Token: string(token), Partitions: []int{0, 1, 2, 3}}
			leases, err := claim.Claim(t.Context(), db.Pool)
			require.NoError(t, err)
			assert.Len(t, leases, wantUnowned)
		})
	}
}

func TestLagIsThatOfTheVisibleLog(t *testing.T) {
	t.Parallel()
	db := setup(t)
	appendEvents(t, db.Pool, "a", 1, 10)
	exec(t, db.Pool, "update projection_checkpoints set last_global_position = case partition when 0 then 10 when 1 then 4 else 0 end")
	// What was rolled back moves the sequence and is nothing to be handled.
	require.ErrorIs(t, pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('order', 'b', 1, 'X', '{}')`); err != nil {
			return err
		}
		return pgx.ErrTxClosed // rolls back
	}), pgx.ErrTxClosed)
	r := read(t, db.Pool)
	assert.EqualValues(t, 10, r.Head)
	var lags []int64
	for _, p := range r.Projections[0].Partitions {
		lags = append(lags, p.LagEvents)
		assert.Equal(t, p.LagEvents > 0, p.LagSeconds > 0, "partition %d", p.Partition)
	}
	assert.Equal(t, []int64{0, 6, 10, 10}, lags)
	assert.EqualValues(t, 10, r.Projections[0].LagEvents)
	assert.Positive(t, r.Projections[0].LagSeconds)
}

// TestPartitionsThatNobodyMayTake: they are told from those that are only unowned for the moment.
func TestPartitionsThatNobodyMayTake(t *testing.T) {
	t.Parallel()
	live := map[string]string{projection: "live"}
	for _, tc := range []struct {
		name    string
		members []partition.Member
		want    int
	}{
		{"no worker", nil, 0},
		{"no limit", []partition.Member{{Instance: instanceA, States: live}}, 0},
		{"a limit", []partition.Member{{Instance: instanceA, States: live, MaxPartitions: 1}}, 3},
		{"two limits", []partition.Member{{Instance: instanceA, States: live, MaxPartitions: 1}, {Instance: instanceB, States: live, MaxPartitions: 2}}, 1},
		{"one without a limit", []partition.Member{{Instance: instanceA, States: live, MaxPartitions: 1}, {Instance: instanceB, States: live}}, 0},
		{"one that leaves", []partition.Member{{Instance: instanceA, States: live, MaxPartitions: 1}, {Instance: instanceB, States: live, Leaving: true}}, 3},
		{"one that runs something else", []partition.Member{{Instance: instanceA, States: live, MaxPartitions: 1}, {Instance: instanceB, States: map[string]string{"other": "live"}}}, 3},
		{"one that avoids", []partition.Member{{Instance: instanceA, States: live, Avoids: map[string][]int{projection: {3}}}}, 1},
		{"a static one", []partition.Member{{Instance: instanceA, States: live, Static: true, Index: 0, Total: 2}}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := setup(t)
			for _, m := range tc.members {
				m.Label = m.Instance
				worker(t, db.Pool, m)
			}
			r := read(t, db.Pool)
			assert.Equal(t, tc.want, r.Projections[0].NobodyMayTake)
			for i, m := range tc.members {
				assert.Equal(t, m.Leaving, r.Workers[i].Leaving)
				if m.MaxPartitions > 0 {
					require.NotNil(t, r.Workers[i].MaxPartitions)
					assert.Equal(t, m.MaxPartitions, *r.Workers[i].MaxPartitions)
				} else {
					assert.Nil(t, r.Workers[i].MaxPartitions)
				}
			}
		})
	}
}

func TestAStoppedProjectionSaysWhy(t *testing.T) {
	t.Parallel()
	db := setup(t)
	worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", States: map[string]string{projection: "live"}}, 0)
	exec(t, db.Pool, `update projections set state = 'stopped', last_error = 'no', error_position = 7, error_at = clock_timestamp()`)
	r := read(t, db.Pool)
	p := r.Projections[0]
	assert.Equal(t, "stopped", p.State)
	assert.Equal(t, "no", p.LastError)
	assert.EqualValues(t, 7, p.ErrorPosition)
	require.NotNil(t, p.ErrorAgeSeconds)
	assert.Equal(t, []string{"0 a live", "1  stopped", "2  stopped", "3  stopped"}, states(r))
	assert.Equal(t, "stopped", p.StateText())
	assert.Equal(t, Stopped, p.Condition())
	assert.Zero(t, p.Missed())

	exec(t, db.Pool, "update projections set state = 'paused', stopped_at = clock_timestamp()")
	p = read(t, db.Pool).Projections[0]
	assert.True(t, p.Stopped)
	assert.Equal(t, "paused, stopped", p.StateText())
	assert.Equal(t, Paused, p.Condition(), "somebody wants it so")
	exec(t, db.Pool, "update projections set state = 'running'")
	p = read(t, db.Pool).Projections[0]
	assert.False(t, p.Stopped, "a binary that does not know stopped_at has taken it up")
	assert.Equal(t, "running", p.StateText())
	assert.Equal(t, Running, p.Condition())
	assert.Equal(t, 3, p.Missed())
	exec(t, db.Pool, "update projection_checkpoints set owner = null")
	assert.Equal(t, Unowned, read(t, db.Pool).Projections[0].Condition())
}

// What is kept beside a projection, and run by nobody, is said to be so, and nobody is woken for it.
func TestWhatNobodyRunsBesideIsUnownedAndNotMissed(t *testing.T) {
	t.Parallel()
	db := setup(t)
	worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", States: map[string]string{projection: "live"}}, 0)
	exec(t, db.Pool, `insert into projections (projection_name, partitions, shadow_of, shadow_from, shadow_ready_at)
		select projection_name || '@1', 1, projection_name, 0, now() from projections`)
	exec(t, db.Pool, "insert into projection_checkpoints (projection_name, partition) select projection_name, 0 from projections where shadow_of is not null")
	r := read(t, db.Pool)
	require.Len(t, r.Projections, 2)
	assert.Equal(t, Running, r.Projections[0].Condition())
	p := r.Projections[1]
	require.NotNil(t, p.Build)
	assert.Equal(t, Unowned, p.Condition())
	assert.Zero(t, p.Unowned)
	assert.Zero(t, p.Missed())
}

// A name that was dropped or renamed is told from a projection that nobody runs, with those who have it in their program still.
func TestRetiredNamesAreTold(t *testing.T) {
	t.Parallel()
	db := setup(t)
	worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", States: map[string]string{"mails": "stopped", projection: "live"}}, 0)
	now := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	exec(t, db.Pool, "insert into retired_projections (projection_name, renamed_to, retired_at) values ('mails', null, $1), ('bills', 'invoices', $1)", now)
	r := read(t, db.Pool)
	require.Len(t, r.Retired, 2)
	for i := range r.Retired {
		assert.GreaterOrEqual(t, r.Retired[i].AgeSeconds, 0.0)
		assert.Equal(t, now, r.Retired[i].RetiredAt.UTC())
		r.Retired[i].AgeSeconds, r.Retired[i].RetiredAt = 0, time.Time{}
	}
	assert.Equal(t, []Retired{{Name: "bills", RenamedTo: "invoices", Workers: []string{}}, {Name: "mails", Workers: []string{"a"}}}, r.Retired)
}

func TestWorkersAreShownAsTheySaidOfThemselves(t *testing.T) {
	t.Parallel()
	db := setup(t)
	worker(t, db.Pool, partition.Member{
		Instance: instanceA, Label: "web-2", Static: true, Index: 2, Total: 4, Host: "h", PID: 12, Mode: "torrent",
		States: map[string]string{projection: "live"}, EventsHandled: 99, EventsPerSecond: 12.5, LastWake: time.Now().Add(-time.Minute),
	})
	worker(t, db.Pool, partition.Member{Instance: instanceB, Label: "app"})
	r := read(t, db.Pool)
	require.Len(t, r.Workers, 2)
	app, web := r.Workers[0], r.Workers[1]
	assert.Equal(t, "elastic", app.Assignment)
	assert.Nil(t, app.Index)
	assert.Nil(t, app.LastWakeAgeSeconds)
	assert.NotNil(t, app.States)
	require.NotNil(t, web.LastWakeAgeSeconds)
	assert.InDelta(t, 60, *web.LastWakeAgeSeconds, 30)
	assert.Less(t, web.HeartbeatAgeSeconds, 30.0)
	two, four := 2, 4
	web.LastWakeAgeSeconds, web.HeartbeatAgeSeconds, web.UptimeSeconds, web.avoids = nil, 0, 0, nil
	assert.Equal(t, Worker{
		Label: "web-2", Instance: instanceA, Host: "h", PID: 12, Alive: true, Assignment: "static", Index: &two, Total: &four,
		EventsHandled: 99, EventsPerSecond: 12.5, Mode: "torrent", States: map[string]string{projection: "live"},
	}, web)
}

// What keeps a projection from getting on stands beside it, the oldest first, as long as the worker lives that said so.
func TestTroublesOfLivingWorkersAreThoseOfTheProjection(t *testing.T) {
	t.Parallel()
	db := setup(t)
	trouble := func(text string, age time.Duration) map[string]partition.Trouble {
		return map[string]partition.Trouble{projection: {Text: text, Since: time.Now().Add(-age)}}
	}
	retrying := map[string]string{projection: "retrying"}
	worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", States: retrying, Troubles: trouble("new", time.Minute)}, 0)
	worker(t, db.Pool, partition.Member{Instance: instanceB, Label: "b", States: retrying, Troubles: trouble("old", time.Hour)}, 1)
	found := read(t, db.Pool).Projections[0].Troubles
	require.Len(t, found, 2)
	assert.InDelta(t, 3600, found[0].AgeSeconds, 30)
	assert.InDelta(t, 60, found[1].AgeSeconds, 30)
	found[0].AgeSeconds, found[1].AgeSeconds = 0, 0
	assert.Equal(t, []Trouble{{Worker: "b", State: "retrying", Text: "old"}, {Worker: "a", State: "retrying", Text: "new"}}, found)

	worker(t, db.Pool, partition.Member{Instance: instanceB, Label: "b", States: map[string]string{projection: "live"}})
	require.Len(t, read(t, db.Pool).Projections[0].Troubles, 1, "it gets on again")
	exec(t, db.Pool, "update projection_workers set heartbeat_at = heartbeat_at - interval '1 hour'")
	require.Empty(t, read(t, db.Pool).Projections[0].Troubles, "a dead worker tries nothing")
	exec(t, db.Pool, `update projection_workers set heartbeat_at = clock_timestamp(), troubles = '{"orders": {"text": 7}, "x": [null]}'`)
	require.Empty(t, read(t, db.Pool).Projections[0].Troubles, "what cannot be read is left out")
}

func TestOpenAppendsAreNamed(t *testing.T) {
	t.Parallel()
	db := setup(t)
	appendEvents(t, db.Pool, "a", 1, 3)

	holder := db.Conn(t)
	const insert = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', $1, 1, 'X', '{}')`
	for _, sql := range []string{"set application_name = 'slow importer'", "begin"} {
		_, err := holder.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	_, err := holder.Exec(t.Context(), insert, "held")
	require.NoError(t, err)

	// A transaction that reads, and one that writes elsewhere, hold nobody back.
	bystander := db.Conn(t)
	for _, sql := range []string{"begin", "create table elsewhere ()", "select count(*) from events"} {
		_, err := bystander.Exec(t.Context(), sql)
		require.NoError(t, err)
	}

	prepared := db.Conn(t)
	_, err = prepared.Exec(t.Context(), "begin")
	require.NoError(t, err)
	_, err = prepared.Exec(t.Context(), insert, "prepared")
	require.NoError(t, err)
	_, err = prepared.Exec(t.Context(), "prepare transaction 'orphan of "+db.Name+"'")
	require.NoError(t, err)

	testdb.Eventually(t, time.Minute, "both to be old enough", func() (bool, error) {
		var age float64
		err := db.Pool.QueryRow(t.Context(), "select min(extract(epoch from clock_timestamp() - prepared)) from pg_prepared_xacts where database = $1", db.Name).Scan(&age)
		return age > OpenFor.Seconds(), err
	})
	assert.Empty(t, read(t, db.Pool).OpenAppends, "there is nothing behind them")

	appendEvents(t, db.Pool, "a", 4, 4)
	open := read(t, db.Pool).OpenAppends
	require.Len(t, open, 2)
	i := slices.IndexFunc(open, func(o OpenAppend) bool { return o.PID != 0 })
	require.GreaterOrEqual(t, i, 0)
	session, orphan := open[i], open[1-i]
	assert.EqualValues(t, holder.PgConn().PID(), session.PID)
	assert.Equal(t, "slow importer", session.Application)
	assert.Equal(t, "idle in transaction", session.State)
	assert.EqualValues(t, 3, session.HoldsAfter)
	require.NotNil(t, session.AgeSeconds)
	assert.Greater(t, *session.AgeSeconds, OpenFor.Seconds())
	assert.Zero(t, orphan.PID)
	assert.Equal(t, "orphan of "+db.Name, orphan.Prepared)
	assert.EqualValues(t, 4, orphan.HoldsAfter)
	require.NotNil(t, orphan.AgeSeconds)

	_, err = holder.Exec(t.Context(), "rollback")
	require.NoError(t, err)
	assert.Len(t, read(t, db.Pool).OpenAppends, 1)
}

func TestReadWorksInEveryQueryMode(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]pgx.QueryExecMode{
		"prepared": pgx.QueryExecModeCacheStatement, "exec": pgx.QueryExecModeExec, "simple": pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t)
			appendEvents(t, db.Pool, "a", 1, 5)
			worker(t, db.Pool, partition.Member{Instance: instanceA, Label: "a", States: map[string]string{projection: "live"}, EventsPerSecond: 1.5}, 0)
			cfg, err := pgxpool.ParseConfig(db.URL)
			require.NoError(t, err)
			cfg.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			require.NoError(t, err)
			defer pool.Close()
			r := read(t, pool)
			assert.Equal(t, []string{"0 a live", "1  unowned", "2  unowned", "3  unowned"}, states(r))
			assert.EqualValues(t, 5, r.Projections[0].LagEvents)
			assert.InDelta(t, 1.5, r.Workers[0].EventsPerSecond, 0.001)
		})
	}
}

func TestEventsThatAreSetAsideAreCountedByProjection(t *testing.T) {
	t.Parallel()
	db := setup(t)
	_, err := partition.Ensure(t.Context(), db.Pool, "other", 1)
	require.NoError(t, err)
	appendEvents(t, db.Pool, "a", 1, 3)
	// b is tried again, c as a binary before version 10 has asked, d waits, and e has not failed and waits for its time
	for _, id := range []string{"b", "c", "d", "e"} {
		appendEvents(t, db.Pool, id, 1, 2)
	}
	exec(t, db.Pool, `insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id,
			aggregate_version, event_type, parked_at, due_at, retry_requested_at, last_error)
		select $1, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type,
			clock_timestamp() - interval '1 hour' * case aggregate_id when 'c' then 1 else 5 - aggregate_version end,
			case when aggregate_id in ('b', 'e') and aggregate_version = 1 then clock_timestamp() + interval '1 hour' end,
			case aggregate_id when 'c' then clock_timestamp() end,
			case aggregate_id when 'e' then '' else 'error of ' || aggregate_id || aggregate_version end from events`, projection)
	r := read(t, db.Pool)
	require.Len(t, r.Projections, 2)
	at := slices.IndexFunc(r.Projections, func(p Projection) bool { return p.Name == projection })
	for _, tc := range []struct {
		found                        Parked
		events, aggregates, position int64
		err                          string
	}{
		{r.Projections[at].Parked, 3 + 2, 2, 1, "error of a1"},
		{r.Projections[at].Retrying, 2 + 2, 2, 4, "error of b1"},
	} {
		assert.Equal(t, []int64{tc.events, tc.aggregates, tc.position}, []int64{tc.found.Events, tc.found.Aggregates, tc.found.Position})
		assert.Equal(t, tc.err, tc.found.Error)
		require.NotNil(t, tc.found.OldestAgeSeconds)
		assert.InDelta(t, 4*3600.0, *tc.found.OldestAgeSeconds, 600)
	}
	deferred := r.Projections[at].Deferred
	assert.Equal(t, []int64{2, 1, 10}, []int64{deferred.Events, deferred.Aggregates, deferred.Position})
	require.NotNil(t, deferred.NextSeconds)
	assert.InDelta(t, 3600.0, *deferred.NextSeconds, 600)
	assert.Equal(t, Deferred{}, r.Projections[1-at].Deferred)
	assert.Equal(t, []Parked{{}, {}}, []Parked{r.Projections[1-at].Parked, r.Projections[1-at].Retrying})
}

// Whoever looks at a long log reads the end of it, and not the whole.
func TestPartitionsAreReadAlongThePrimaryKey(t *testing.T) {
	t.Parallel()
	b := testdb.New(t)
	appendEvents(t, b.Pool, "a", 1, 50_000)
	exec(t, b.Pool, "insert into projections (projection_name, partitions) values ('p', 32)")
	exec(t, b.Pool, "insert into projection_checkpoints (projection_name, partition, last_global_position) select 'p', n, 49000 from generate_series(0, 31) n")
	exec(t, b.Pool, "analyze events, projections, projection_checkpoints")
	rows, err := b.Pool.Query(t.Context(), "explain (costs off) "+partitionsSQL)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotContains(t, strings.Join(lines, "\n"), "Seq Scan on events")
	require.Contains(t, strings.Join(lines, "\n"), "Index Scan Backward using events_pkey")
}
