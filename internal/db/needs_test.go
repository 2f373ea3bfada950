package db_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// What a connection needs follows whoever changes its session, at the next statement; where a pooler may stand, it needs all.
func TestNeedsFollowTheSession(t *testing.T) {
	t.Parallel()
	b := testdb.New(t)
	ctx := t.Context()
	connect := func(mode pgx.QueryExecMode) *pgx.Conn {
		cfg, err := pgx.ParseConfig(b.URL)
		require.NoError(t, err)
		cfg.DefaultQueryExecMode = mode
		conn, err := pgx.ConnectConfig(ctx, cfg)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
		return conn
	}
	conn := connect(pgx.QueryExecModeCacheStatement)
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(ctx, sql)
		require.NoError(t, err)
	}
	var version int
	require.NoError(t, conn.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version))
	plain := db.Needs{Unlimited: version >= 170000}
	forms := db.Needs{Forms: true, Unlimited: plain.Unlimited}
	require.Equal(t, plain, db.NeedsOf(conn))
	for _, sql := range []string{
		"set client_encoding = 'LATIN1'", "set datestyle = 'German'", "select set_config('client_encoding', 'SQL_ASCII', false)",
		"set datestyle = 'SQL, DMY'",
	} {
		exec("begin; " + sql)
		require.Equal(t, forms, db.NeedsOf(conn), sql)
		exec("rollback")
		require.Equal(t, plain, db.NeedsOf(conn), sql)
		exec(sql)
		require.Equal(t, forms, db.NeedsOf(conn), sql)
		exec("reset all")
		require.Equal(t, plain, db.NeedsOf(conn), sql)
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		require.Equal(t, db.AllNeeds, db.NeedsOf(connect(mode)), mode.String())
	}
}
