package rebuild_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/projection"
)

// inSchema opens a pool whose search_path begins at a schema, as an operator of a tenant has it.
func (b *bundle) inSchema(schema string) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// Two tenants with the same projection on one pool: one is rebuilt and gets another version, and the other notices nothing.
func TestARebuildOfOneTenantIsItsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const schema = `Tenant "1", ü`
	b.exec("create schema " + pgx.Identifier{schema}.Sanitize())
	tenant := b.inSchema(schema)
	conn, err := tenant.Acquire(b.ctx)
	require.NoError(t, err)
	_, err = migrations.Up(b.ctx, conn.Conn())
	conn.Release()
	require.NoError(t, err)
	_, err = tenant.Exec(b.ctx, countsSQL)
	require.NoError(t, err)
	counted := func(pool *pgxpool.Pool) (n int64) {
		require.NoError(t, pool.QueryRow(b.ctx, "select coalesce(sum(n), 0) from counts").Scan(&n))
		return n
	}
	for _, pool := range []*pgxpool.Pool{b.Pool, tenant} {
		_, err := pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', gen_random_uuid(), 1, 'e', '{}' from generate_series(1, 50)`)
		require.NoError(t, err)
	}
	shared := b.pool()
	b.start(tally{}).WaitStarted()
	workertest.Start(t, shared, rouse.Config{Schema: schema, Projections: []rouse.Projection{tally{}}}).WaitStarted()
	testdb.Eventually(t, patience, "both to be counted", func() (bool, error) { return counted(b.Pool) == 50 && counted(tenant) == 50, nil })
	b.exec("update " + pgx.Identifier{schema, "counts"}.Sanitize() + " set n = 7")
	b.exec("update counts set n = 8")
	require.NoError(t, projection.Rebuild(b.ctx, tenant, "p", "", nil))
	require.EqualValues(t, 50, counted(tenant))
	require.EqualValues(t, 8, counted(b.Pool))

	workertest.Start(t, shared, rouse.Config{Schema: schema, Projections: []rouse.Projection{v2{tally{version: 2, times: 10}}}}).WaitStarted()
	testdb.Eventually(t, patience, "version 2 to be near", func() (bool, error) {
		builds, err := projection.Builds(b.ctx, tenant, "p")
		return len(builds) == 1 && ready(builds[0]), err
	})
	_, err = projection.Promote(b.ctx, tenant, "p", 2)
	require.NoError(t, err)
	require.EqualValues(t, 500, counted(tenant))
	require.EqualValues(t, 8, counted(b.Pool))
	require.EqualValues(t, 1, b.int("select count(*) from pg_namespace where nspname = $1", `rouse_Tenant "1", ü_p_1`))
}

// A worker whose role may make no schema says so and goes on; one that may does it.
func TestAWorkerThatMayNotMakeTablesLeavesThemToOneThatMay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := "rebuild_least_" + eventstore.NewID().String()[24:]
	b.exec("create role " + role + " login")
	b.exec("grant usage on schema public to " + role + "; grant select, insert, update, delete on all tables in schema public to " + role +
		"; grant select on all sequences in schema public to " + role)
	t.Cleanup(func() {
		_, _ = b.Pool.Exec(context.Background(), "drop owned by "+role+"; drop role "+role)
	})
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(t, err)
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role "+role)
		return err
	}
	least, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(least.Close)
	b.append(10, "e")
	workertest.Start(t, least, rouse.Config{Projections: []rouse.Projection{tally{}}}).WaitStarted()
	b.countedTo("e", 10)
	_, err = projection.StartRebuild(b.ctx, b.Pool, "p", "")
	require.NoError(t, err)
	one := b.beside("p@rebuild", "refused to the role", func(one projection.Build) bool { return one.Trouble != "" })
	require.Contains(t, one.Trouble, "permission denied")
	require.Contains(t, one.Trouble, "start one worker under it")
	require.False(t, one.Final)

	b.start(tally{}).WaitStarted()
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 10, b.counted("e"))
	b.append(5, "e")
	b.countedTo("e", 15)
}
