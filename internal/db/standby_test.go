package db_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// What leads to a standby is known by what it answers, to reads as well, which a standby answers with what it has so far. A plan
// that is out of date has the SQLSTATE of an unlogged table there, and is none.
func TestIsStandby_IsWhatAStandbyAnswers(t *testing.T) {
	t.Parallel()
	primary := testdb.Server(t, nil)
	own := testdb.On(t, primary)
	standby, err := primary.Standby(t.Context())
	require.NoError(t, err)
	testdb.StopAtCleanup(t, standby)
	there, err := pgxpool.New(t.Context(), standby.URL(own.Name))
	require.NoError(t, err)
	t.Cleanup(there.Close)
	pool := db.In(there, "public")

	var n int
	for name, ask := range map[string]func(d db.DB, s db.Sender) error{
		"a read of the worker's own": func(d db.DB, s db.Sender) error {
			return db.QueryRow(t.Context(), s, []any{&n}, "select 1")
		},
		"a write of the worker's own": func(d db.DB, s db.Sender) error { return db.Exec(t.Context(), s, "select 1") },
		"a transaction of several steps": func(d db.DB, s db.Sender) error {
			return db.Tx(t.Context(), d, func(pgx.Tx) error { return nil })
		},
		"the token of the incarnation": func(d db.DB, s db.Sender) error {
			return d.QueryRow(t.Context(), "select count(*) from rouse_incarnation").Scan(&n)
		},
	} {
		require.NoError(t, ask(own.Pool, own.Pool), name)
		err := ask(pool, pool)
		require.Error(t, err, name)
		require.True(t, db.IsStandby(fmt.Errorf("wrapped: %w", err)), "%s: %v", name, err)
	}

	conn := own.Conn(t)
	for _, sql := range []string{"create table changing (a int)", "prepare p as select * from changing", "alter table changing add b int"} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), "execute p")
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "0A000", pgErr.Code)
	require.False(t, db.IsStandby(err))
	require.False(t, db.IsStandby(errors.New("else")))
	require.False(t, db.IsStandby(nil))

	before := pool.Stat().NewConnsCount()
	pool.Leave(db.ErrStandby)
	require.NoError(t, pool.Ping(t.Context()))
	require.Greater(t, pool.Stat().NewConnsCount(), before, "the connections were left")
}
