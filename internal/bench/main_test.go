package bench

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience is for a busy machine.
const patience = 2 * time.Minute

type testBundle struct {
	*Bench
	db  *testdb.DB
	ctx context.Context
}

// setup opens a benchmark in an empty database. It is closed by the test, or at its end.
func setup(t *testing.T, change func(*Config)) *testBundle {
	t.Helper()
	return setupOn(t, testdb.Empty(t), change)
}

func setupOn(t *testing.T, db *testdb.DB, change func(*Config)) *testBundle {
	t.Helper()
	connect, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	cfg := Config{Connect: connect}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	b, err := Open(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return &testBundle{Bench: b, db: db, ctx: ctx}
}

// value reads one value from the benchmark's schema, past the benchmark.
func value[T any](t *testing.T, b *testBundle, sql string) T {
	t.Helper()
	var v T
	require.NoError(t, pgx.BeginFunc(b.ctx, b.db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(b.ctx, "select set_config('search_path', $1, true)", b.Schema()); err != nil {
			return err
		}
		return tx.QueryRow(b.ctx, sql).Scan(&v)
	}))
	return v
}

// requireNothingLeft fails if a schema of a benchmark is still in the database.
func requireNothingLeft(t *testing.T, db *testdb.DB) {
	t.Helper()
	var left int
	require.NoError(t, db.Pool.QueryRow(context.Background(), "select count(*) from pg_namespace where nspname like 'rouse_bench_%'").Scan(&left))
	require.Zero(t, left)
}
