package testdb

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scratch"
	"github.com/rouse-es/rouse/migrations"
)

// maintenance runs a query for one value where databases are made.
func maintenance[T any](t *testing.T, sql string, args ...any) (v T) {
	t.Helper()
	server, err := scratch.Server()
	require.NoError(t, err)
	require.NoError(t, WithConn(t.Context(), server, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql, args...).Scan(&v)
	}))
	return v
}

func exists(t *testing.T, database string) bool {
	t.Helper()
	return maintenance[bool](t, "select exists (select from pg_database where datname = $1)", database)
}

func TestNew(t *testing.T) {
	t.Parallel()
	db := New(t)
	require.NoError(t, migrations.Check(t.Context(), db.Pool), "the schema is there")

	var encoding, collation, name string
	require.NoError(t, db.Pool.QueryRow(t.Context(),
		"select pg_encoding_to_char(encoding), datcollate, datname from pg_database where datname = current_database()").
		Scan(&encoding, &collation, &name))
	require.Equal(t, []string{"UTF8", "C", db.Name}, []string{encoding, collation, name})
	t.Logf("the server of port %d", db.Pool.Config().ConnConfig.Port)
}

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := New(t), New(t)
	require.NotEqual(t, a.Name, b.Name)
	_, err := a.Pool.Exec(t.Context(), "create table mine ()")
	require.NoError(t, err)
	_, err = b.Pool.Exec(t.Context(), "create table mine ()")
	require.NoError(t, err)

	// The notification from b comes first. That a's own arrives alone shows that
	// b's never will.
	conn := a.Conn(t)
	_, err = conn.Exec(t.Context(), "listen wake")
	require.NoError(t, err)
	for _, db := range []*DB{b, a} {
		_, err = db.Pool.Exec(t.Context(), "select pg_notify('wake', current_database())")
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := conn.WaitForNotification(ctx)
	require.NoError(t, err)
	require.Equal(t, a.Name, got.Payload)
}

func TestEmptyHasNoSchema(t *testing.T) {
	t.Parallel()
	db := Empty(t)
	var tables int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&tables))
	require.Zero(t, tables)
}

func TestDatabaseIsGoneAfterItsTest(t *testing.T) {
	t.Parallel()
	var name string
	r := Record(t, func(t testing.TB) {
		ctx := t.Context()
		db := Empty(t)
		name = db.Name
		// Whatever a failed test may leave: an open transaction, connections, and
		// a prepared transaction with a nasty name.
		conn, err := pgx.Connect(ctx, db.URL)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, "begin; create table a (); prepare transaction 'it''s'")
		require.NoError(t, err)
		_, err = conn.Exec(ctx, "begin; create table b ()")
		require.NoError(t, err)
		db.Conn(t)
	})
	require.Empty(t, r.Failures)
	require.False(t, exists(t, name))
}

func TestConnectionThatIsNotReleasedFailsTheTest(t *testing.T) {
	t.Parallel()
	db := Empty(t)
	conn, err := db.Pool.Acquire(t.Context())
	require.NoError(t, err)
	r := &Recorder{TB: t}
	closePool(r, db.Pool, 10*time.Millisecond)
	require.Len(t, r.Failures, 1)
	require.Contains(t, r.Failures[0], "not released 1 connections")
	conn.Release()
}

func TestPrivateServer(t *testing.T) {
	t.Parallel()
	var folder string
	r := Record(t, func(t testing.TB) {
		server := Server(t, map[string]string{"work_mem": "6MB"})
		folder = server.DataDir()
		db := On(t, server)
		require.NoError(t, migrations.Check(t.Context(), db.Pool))
		var memory, fsync, commit string
		require.NoError(t, db.Pool.QueryRow(t.Context(),
			"select current_setting('work_mem'), current_setting('fsync'), current_setting('synchronous_commit')").
			Scan(&memory, &fsync, &commit))
		require.Equal(t, []string{"6MB", "off", "on"}, []string{memory, fsync, commit})
		require.NoError(t, server.Crash(t.Context()))
		require.NoError(t, server.Restart(t.Context()))
		require.NoError(t, migrations.Check(t.Context(), db.Conn(t)))
	})
	require.Empty(t, r.Failures)
	require.NoDirExists(t, folder)
}
