package bench

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

const (
	sumCounts = "select coalesce(sum(events), 0)::bigint from bench_counts"
	countLog  = "select count(*) from events"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	result, err := b.Latency(b.ctx, LatencyOptions{Events: 12, Rates: []float64{200}})
	require.NoError(t, err)
	require.Len(t, result.Steps, 1)
	r := result.Steps[0]
	assert.EqualValues(t, 12, value[int64](t, b, countLog))
	assert.EqualValues(t, floorRows+12, value[int64](t, b, "select count(*) from floor_log"))
	assert.EqualValues(t, 24, value[int64](t, b, sumCounts), "both sides have handled theirs")
	assert.EqualValues(t, 12, r.Handled)
	assert.EqualValues(t, 12, r.FloorHandled)
	for _, p := range []Percentiles{r.Rouse, r.Floor} {
		assert.Positive(t, p.P50)
		assert.LessOrEqual(t, p.P50, p.P90)
		assert.LessOrEqual(t, p.P90, p.P99)
	}
	assert.InDelta(t, r.Rouse.P50/r.Floor.P50, r.Ratio.P50, 1e-9)
	requireServer(t, result.Server)
}

// TestLatencySteps: each size of the log, each rate, and each with a foreign transaction open from before it until after it.
func TestLatencySteps(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	held := map[int64]bool{}
	b.cfg.Progress = func(done, _ int64) {
		held[done] = value[bool](t, b, "select exists (select from pg_locks where relation = to_regclass('foreign_work') and mode = 'RowExclusiveLock')")
	}
	r, err := b.Latency(b.ctx, LatencyOptions{Events: 2, Rates: []float64{300}, TableRows: []int64{100, 700}, Hold: true})
	require.NoError(t, err)
	require.Len(t, r.Steps, 4)
	for i, s := range r.Steps {
		assert.Equal(t, []int64{100, 700}[i/2], s.TableRows)
		assert.Equal(t, i%2 == 1, s.Held)
		assert.EqualValues(t, 2, s.Handled)
	}
	assert.Equal(t, map[int64]bool{0: false, 1: false, 2: false, 3: true, 4: true, 5: false, 6: false, 7: true, 8: true}, held)
	assert.EqualValues(t, 100+2*2+700-100-2*2+2*2, value[int64](t, b, countLog))
}

// TestBusyLatency: every event of Rouse is timed, and of the floor every one that it has handled.
func TestBusyLatency(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Latency(b.ctx, LatencyOptions{Events: 400, Rates: []float64{1000}, Writers: 4})
	require.NoError(t, err)
	require.Len(t, r.Steps, 1)
	s := r.Steps[0]
	assert.EqualValues(t, 400, s.Handled)
	assert.EqualValues(t, 400, value[int64](t, b, "select count(*) from events where aggregate_id like 'rouse%'"))
	assert.EqualValues(t, 400, value[int64](t, b, "select count(*) from events where aggregate_id like 'alone%'"))
	assert.EqualValues(t, floorRows+400, value[int64](t, b, "select count(*) from floor_log"))
	assert.EqualValues(t, 8, value[int64](t, b, `select count(*) from (select from events group by aggregate_id
		having min(aggregate_version) = 1 and max(aggregate_version) = count(*)) whole`), "each writer has an aggregate, without gaps")
	assert.Positive(t, s.FloorHandled)
	assert.LessOrEqual(t, s.FloorHandled, int64(400))
	assert.Positive(t, s.Appended)
	assert.Positive(t, s.FloorAppended)
	assert.Positive(t, s.AloneAppended)
	for _, p := range []*Percentiles{s.Append, s.FloorAppend, s.AloneAppend} {
		assert.Positive(t, p.P50)
	}
	assert.Positive(t, s.Ratio.P50)
}

func TestCatchup(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var done, total int64
	b.cfg.Progress = func(d, n int64) { done, total = max(done, d), n }
	r, err := b.Catchup(b.ctx, CatchupOptions{Events: 2300, Rounds: 2})
	require.NoError(t, err)
	assert.EqualValues(t, 2300, value[int64](t, b, countLog))
	assert.EqualValues(t, 2300, value[int64](t, b, sumCounts), "the last side to work starts from nothing")
	assert.EqualValues(t, 2300, value[int64](t, b, "select last from floor_checkpoint"))
	assert.EqualValues(t, 8, value[int64](t, b, `select count(*) from (select from projection_checkpoints group by projection_name
		having min(last_global_position) = 2300) complete`), "each round's four projections")
	for _, p := range []CatchupPair{r.Nothing, r.Upsert, r.Batched, r.Apply} {
		require.Len(t, p.Rounds, 2)
		assert.Positive(t, p.Rouse)
		assert.Positive(t, p.Floor)
		assert.InDelta(t, (p.Rounds[0].Ratio+p.Rounds[1].Ratio)/2, p.Ratio, 1e-9)
		for _, round := range p.Rounds {
			assert.EqualValues(t, 2300, round.Handled)
			assert.EqualValues(t, 2300, round.FloorHandled)
			assert.InDelta(t, round.Rouse/round.Floor, round.Ratio, 1e-9)
		}
	}
	assert.Equal(t, total, done)
	requireServer(t, r.Server)
}

func TestAppend(t *testing.T) {
	t.Parallel()
	writers := map[string]string{"goroutines": ""}
	if found := FindPgbench(); found != "" {
		writers["pgbench"] = found
	}
	for name, path := range writers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			r, err := b.Append(b.ctx, AppendOptions{Writers: []int{1, 3}, Rounds: 1, Length: time.Second, Disks: []Disk{DiskAsIs}, Pgbench: path})
			require.NoError(t, err)
			assert.Contains(t, r.Writer, name)
			assert.Positive(t, r.Events)
			assert.Equal(t, r.Events, value[int64](t, b, countLog))
			assert.Equal(t, r.Events, value[int64](t, b, sumCounts))
			assert.Equal(t, r.Events, r.Handled)
			assert.EqualValues(t, 6, value[int64](t, b, "select count(distinct split_part(aggregate_id, '-', 1)) from events"), "rounds")
			assert.EqualValues(t, 12, value[int64](t, b, "select count(distinct (split_part(aggregate_id, '-', 1), split_part(aggregate_id, '-', 2))) from events"),
				"one writer and then three, in three variants")
			require.Len(t, r.Disks, 1)
			require.Len(t, r.Disks[0].Rows, 2)
			for _, row := range r.Disks[0].Rows {
				require.Len(t, row.Rounds, 1)
				for _, v := range variants {
					assert.Positive(t, v.of(&row.Rounds[0]).PerSecond)
					assert.NotEmpty(t, v.of(&row.Rounds[0]).Mode)
				}
				assert.InDelta(t, row.Rouse/row.Off, row.RouseRatio, 1e-9)
				assert.InDelta(t, row.NotifyAlways/row.Off, row.NotifyAlwaysRatio, 1e-9)
			}
			requireServer(t, r.Server)
		})
	}
}

// TestIdle: what is counted is what was sent, and a worker that sleeps is told of every append.
func TestIdle(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	// Long enough for each to have sent some heartbeats, or to have lost its leases and to register anew.
	r, err := b.Idle(b.ctx, IdleOptions{Workers: 2, Length: 8 * time.Second, Appends: 3})
	require.NoError(t, err)
	assert.Zero(t, r.Unslept, "nobody slept")
	assert.Equal(t, 3, r.Slept)
	assert.Positive(t, r.Heartbeat, "at rest, where each is a look at the others too")
	assert.Positive(t, r.Transactions)
	assert.Positive(t, r.Connections)
	each := r.EventPath + r.Watch + r.Heartbeat + r.Probe + r.Ownership
	const underWay = 3 // the tracer has seen it and the wire not yet, in 10 s and worker
	assert.GreaterOrEqual(t, r.Sent*10/2+underWay, each, "what the connections send is at least what the tracer saw")
	assert.LessOrEqual(t, r.EventTrips, r.EventPath)
	assert.EqualValues(t, 6, value[int64](t, b, countLog))
	assert.EqualValues(t, 6, value[int64](t, b, sumCounts))
}

// TestTenants: everything of every schema is handled, and no schema is left.
func TestTenants(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Tenants(b.ctx, TenantsOptions{Schemas: 3, Length: 5 * time.Second, Appends: 4, Apart: 1})
	require.NoError(t, err)
	assert.Equal(t, 3, r.Group.Workers)
	assert.Equal(t, 1, r.Apart.Workers)
	for _, rest := range []Rest{r.Group, *r.Apart} {
		assert.Positive(t, rest.Start)
		assert.Positive(t, rest.Connections)
		assert.Positive(t, rest.Transactions)
		assert.Positive(t, rest.Statements)
	}
	assert.GreaterOrEqual(t, r.BurstConnections, r.Group.Connections)
	assert.Positive(t, r.One.P50)
	assert.Positive(t, r.Spread.P50)
	assert.Positive(t, r.Ratio.P50)
	requireServer(t, r.Server)
	assert.EqualValues(t, 1, value[int64](t, b, "select count(*) from pg_namespace where nspname like 'rouse_bench_%'"), "that of the benchmark itself")
}

func TestStatementsOfAnIdleWorker(t *testing.T) {
	t.Parallel()
	c := &counting{}
	c.count("begin", "select owner from projection_checkpoints", "commit")
	c.count("begin", "update projection_checkpoints set x = 1", "commit")
	kinds, events := c.read()
	assert.Equal(t, [statementKinds]int64{eventPath: 3, ownership: 3, eventTrip: 1}, kinds)
	assert.Len(t, events, 3)
	for sql, kind := range map[string]int{
		"insert into projection_workers as w values (1)":          heartbeat,
		"select pg_notify($1, $2), pg_notification_queue_usage()": probe,
		"select count(*) from rouse_members where alive":          watch,
		"select owner from projection_checkpoints":                ownership,
		"update projection_checkpoints set x = 1":                 eventPath,
		"begin": eventPath,
	} {
		assert.Equal(t, kind, kindOf(sql), sql)
	}
}

// TestSlowDisk: it is slow while it is measured, and the server is as it was afterwards.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	db := testdb.On(t, testdb.Server(t, nil))
	seen := ""
	b := setupOn(t, db, func(c *Config) {
		c.Own = true
		c.Progress = func(done, _ int64) {
			if done == 4 { // the first round of the second disk
				_ = db.Pool.QueryRow(context.Background(), "show commit_delay").Scan(&seen)
			}
		}
	})
	r, err := b.Append(b.ctx, AppendOptions{Writers: []int{2}, Rounds: 1, Length: time.Second, Disks: []Disk{DiskAsIs, DiskSlow}})
	require.NoError(t, err)
	require.Len(t, r.Disks, 2)
	assert.Empty(t, r.Disks[0].Settings)
	assert.Equal(t, "5000", r.Disks[1].Settings["commit_delay"])
	assert.Equal(t, "5000", seen)
	testdb.Eventually(t, patience, "the settings to be back", func() (bool, error) {
		var delay string
		err := db.Pool.QueryRow(b.ctx, "show commit_delay").Scan(&delay)
		return delay == "0", err
	})
}

func TestSlowDiskOnASharedServerIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, err := b.Append(b.ctx, AppendOptions{Writers: []int{1}, Rounds: 1, Length: time.Second, Disks: []Disk{DiskSlow}})
	require.ErrorIs(t, err, ErrShared)
}

// parts runs each benchmark at its smallest.
var parts = map[string]func(ctx context.Context, b *Bench) error{
	"latency": func(ctx context.Context, b *Bench) error {
		_, err := b.Latency(ctx, LatencyOptions{Events: 4, Rates: []float64{200}})
		return err
	},
	"catchup": func(ctx context.Context, b *Bench) error {
		_, err := b.Catchup(ctx, CatchupOptions{Events: 1100, Rounds: 1})
		return err
	},
	"append": func(ctx context.Context, b *Bench) error {
		_, err := b.Append(ctx, AppendOptions{Writers: []int{1}, Rounds: 1, Length: time.Second, Disks: []Disk{DiskAsIs}})
		return err
	},
}

// TestMissingEffects: what is fast because it does nothing is no result.
func TestMissingEffects(t *testing.T) {
	t.Parallel()
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			require.NoError(t, b.exec(b.ctx, statementTimeout, `create function forget() returns trigger language plpgsql as
				$$ begin if new.events > 1 then return old; end if; return new; end $$`,
				"create trigger forget before update on bench_counts for each row execute function forget()"))
			require.ErrorIs(t, part(b.ctx, b.Bench), ErrUnhandled)
		})
	}
}

// TestStoppedInTheMiddle: nothing is left behind, at the first sign of progress and at any time before it.
func TestStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			b := setup(t, func(c *Config) {
				c.Progress = func(done, _ int64) {
					if done > 0 {
						cancel()
					}
				}
			})
			require.ErrorIs(t, part(ctx, b.Bench), context.Canceled)
			require.NoError(t, b.Close())
			requireNothingLeft(t, b.db)
		})
	}
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond} {
		t.Run("open for "+after.String(), func(t *testing.T) {
			t.Parallel()
			db := testdb.Empty(t)
			connect, err := pgxpool.ParseConfig(db.URL)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), after)
			defer cancel()
			if b, err := Open(ctx, Config{Connect: connect}); err == nil {
				require.NoError(t, b.Close())
			}
			requireNothingLeft(t, db)
		})
	}
}

func TestNothingElseInTheDatabaseIsTouched(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	b := setupOn(t, db, nil)
	require.NoError(t, parts["catchup"](b.ctx, b.Bench))
	require.NoError(t, b.Close())
	var events int
	require.NoError(t, db.Pool.QueryRow(b.ctx, countLog).Scan(&events))
	assert.Zero(t, events)
	requireNothingLeft(t, db)
}

func requireServer(t *testing.T, s Server) {
	t.Helper()
	require.Regexp(t, `^PostgreSQL \d+`, s.Version)
	require.NotEmpty(t, s.Settings["fsync"])
	require.NotEmpty(t, s.Settings["synchronous_commit"])
}
