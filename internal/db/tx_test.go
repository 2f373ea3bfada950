package db_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// The server may end sessions while they lie in the pool, which shows at their next use. A read is sent on another one then; what
// writes is not sent twice.
func TestReadOutlivesSessionsThatEndedInThePool(t *testing.T) {
	t.Parallel()
	database := testdb.New(t)
	cfg, err := pgxpool.ParseConfig(database.URL)
	require.NoError(t, err)
	cfg.MaxConns = 3
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // as one that was used just now
	p, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	endAll := func() {
		t.Helper()
		var pids []int32
		var held []*pgxpool.Conn
		for range cfg.MaxConns {
			conn, err := p.Acquire(t.Context())
			require.NoError(t, err)
			held, pids = append(held, conn), append(pids, int32(conn.Conn().PgConn().PID()))
		}
		for _, conn := range held {
			conn.Release()
		}
		var ended int
		require.NoError(t, database.Pool.QueryRow(t.Context(), "select count(pg_terminate_backend(pid, 10000)) from unnest($1::int[]) pid", pids).Scan(&ended))
		require.Len(t, pids, ended)
	}
	endAll()
	var one int
	require.NoError(t, db.QueryRow(t.Context(), p, []any{&one}, "select 1"))
	require.Equal(t, 1, one)
	endAll()
	require.NoError(t, db.Query(t.Context(), p, func(rows pgx.Rows) error { rows.Close(); return rows.Err() }, "select 1"))
	endAll()
	require.Error(t, db.Exec(t.Context(), p, "select 1"))
}

// A process that is frozen in a transaction of the worker's own holds its locks for a moment only: whoever takes its partitions
// must find them free.
func TestTxOfAFrozenProcessIsEnded(t *testing.T) {
	t.Parallel()
	database := testdb.New(t)
	_, err := database.Pool.Exec(t.Context(), "create table held as select 1 as n")
	require.NoError(t, err)
	locked, free := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- db.Tx(t.Context(), database.Pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "select from held for update")
			close(locked)
			<-free
			return err
		})
	}()
	<-locked
	ctx, cancel := context.WithTimeout(t.Context(), 5*db.IdleTimeout)
	defer cancel()
	_, err = database.Pool.Exec(ctx, "select from held for update")
	close(free)
	require.NoError(t, err)
	require.Error(t, <-ended)
}

// A transaction in one round trip commits everything or nothing, and its connection serves on.
func TestTxBatchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	database := testdb.New(t)
	_, err := database.Pool.Exec(t.Context(), "create table made (n int, sync text)")
	require.NoError(t, err)
	cfg, err := pgxpool.ParseConfig(database.URL)
	require.NoError(t, err)
	cfg.MaxConns = 1
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		cfg.ConnConfig.DefaultQueryExecMode = mode
		cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
		p, err := pgxpool.NewWithConfig(t.Context(), cfg)
		require.NoError(t, err)
		defer p.Close()
		made := func(then string) error {
			return db.TxBatch(t.Context(), p, func(batch *pgx.Batch) {
				batch.Queue("insert into made select 1, current_setting('synchronous_commit')")
				batch.Queue(then)
			})
		}
		pid := func() (pid int) {
			require.NoError(t, p.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid))
			return pid
		}
		before := pid()
		require.ErrorContains(t, made("select 1 / (select 0)"), "division by zero", mode)
		require.Equal(t, before, pid(), "the connection is still good")
		require.NoError(t, made("select 1"))
		var rows int
		require.NoError(t, p.QueryRow(t.Context(), "select count(*) from made where sync = 'on'").Scan(&rows))
		require.Equal(t, 1, rows, mode)
		_, err = p.Exec(t.Context(), "delete from made")
		require.NoError(t, err)
	}
}
