package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

func TestProbeFindsNothingInPostgreSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		for _, tc := range []struct{ conns, holders, held int }{{1, 1, 0}, {2, 1, 1}, {4, 20, 3}, {21, 20, 20}} {
			pool := b.pool(mode, int32(tc.conns), nil)
			b.warm(pool, tc.conns)
			held, err := catchup.Probe(b.ctx, pool, b.log, tc.holders)
			require.NoError(t, err, mode)
			require.Equal(t, tc.held, held, mode)
		}
	}
	require.Zero(t, b.int("select count(*) from pg_locks where locktype = 'advisory' and database = $1", int64(b.log.Database)))
	require.Zero(t, b.int("select coalesce(pg_sequence_last_value($1::bigint::oid::regclass), 0)", int64(b.log.Sequence)), "no position is used up")
}

// warm opens n connections of pool: the probe waits for them no longer than others would.
func (b *bundle) warm(pool *pgxpool.Pool, n int) {
	b.t.Helper()
	for range n {
		conn, err := pool.Acquire(b.ctx)
		require.NoError(b.t, err)
		defer conn.Release() // once all are open
	}
}

// A pool whose connections are all in use by others keeps nobody from starting.
func TestProbeWaitsForNoPool(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(pgx.QueryExecModeCacheStatement, 2, nil)
	conn, err := pool.Acquire(b.ctx)
	require.NoError(t, err)
	defer conn.Release()
	held, err := catchup.Probe(b.ctx, pool, b.log, 1)
	require.NoError(t, err)
	require.Zero(t, held)
}

// Engines that are not quite PostgreSQL, each made of a schema in which search_path looks first.
func TestProbeRefusesAnEngineThatWouldLoseEvents(t *testing.T) {
	t.Parallel()
	const young = "join pg_stat_activity a using (pid) where a.xact_start < clock_timestamp() - interval '1 second'"
	for _, tc := range []struct {
		name, shadow string
		holders      int // that are enough to see it
		says         string
	}{
		{"LocksAreHiddenForASecond", "create view shadow.pg_locks as select l.* from pg_catalog.pg_locks l " + young, 1, "of 1 transactions"},
		{"LocksOfSixteenAreShown", "create view shadow.pg_locks as select * from pg_catalog.pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()) order by pid limit 16", 20, "pg_locks shows 16"},
		{"LocksAreNoOps", "create view shadow.pg_locks as select * from pg_catalog.pg_locks where locktype <> 'advisory'", 1, "pg_locks shows 0"},
		{"LocksLookDifferent", `create view shadow.pg_locks as select locktype, database, classid, objid, objsubid, pid, 'SHARE' as mode from pg_catalog.pg_locks`, 1, "in another form"},
		{"SnapshotIsTheTransactions", "create function shadow.pg_visible_in_snapshot(xid8, pg_snapshot) returns boolean language sql return false", 1, "share a snapshot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create schema shadow")
			b.exec(tc.shadow)
			pool := b.pool(pgx.QueryExecModeCacheStatement, 21, func(cfg *pgxpool.Config) {
				cfg.ConnConfig.RuntimeParams["search_path"] = "shadow, pg_catalog, public"
			})
			b.warm(pool, tc.holders+1)
			if tc.holders > 1 {
				held, err := catchup.Probe(b.ctx, pool, b.log, 1)
				require.NoError(t, err)
				require.Equal(t, 1, held)
			}
			_, err := catchup.Probe(b.ctx, pool, b.log, tc.holders)
			require.ErrorIs(t, err, catchup.ErrEngine)
			require.ErrorContains(t, err, tc.says)
		})
	}
}
