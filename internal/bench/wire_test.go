package bench

import (
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestEveryStatementOnTheWireIsCounted, by whatever part of the protocol it goes: a tracer of pgx does not see the last two.
func TestEveryStatementOnTheWireIsCounted(t *testing.T) {
	t.Parallel()
	db, ctx := testdb.Empty(t), context.Background()
	cfg, err := pgx.ParseConfig(db.URL)
	require.NoError(t, err)
	w := &wire{}
	w.on(cfg)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	require.NoError(t, err)
	defer closeConn(conn)
	do := func(want sent, send func() error) {
		t.Helper()
		before, _ := w.read()
		require.NoError(t, send())
		after, _ := w.read()
		assert.Equal(t, want, after.minus(before))
	}
	exec := func(sql string, args ...any) func() error {
		return func() error { _, err := conn.Exec(ctx, sql, args...); return err }
	}
	do(sent{statements: 1, trips: 1}, exec("select 1"))
	do(sent{statements: 2, ends: 2, trips: 1}, exec("-- a; comment\nbegin; select 1; select 2; commit"))
	do(sent{statements: 1, trips: 2}, exec("select $1::int", 7)) // it is prepared first
	do(sent{statements: 1, trips: 1}, exec("select $1::int", 8))
	exchange := func() error {
		var batch pgx.Batch
		batch.Queue("begin")
		for range 3 {
			batch.Queue("select $1::int", 9)
		}
		batch.Queue("commit")
		return conn.SendBatch(ctx, &batch).Close()
	}
	do(sent{statements: 3, ends: 2, trips: 2}, exchange) // begin and commit are prepared first
	do(sent{statements: 3, ends: 2, trips: 1}, exchange)
	do(sent{ends: 2, statements: 2, trips: 4}, func() error {
		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		inner, err := tx.Begin(ctx) // a savepoint, and back to it
		require.NoError(t, err)
		require.NoError(t, inner.Rollback(ctx))
		return tx.Commit(ctx)
	})
	do(sent{statements: 1, trips: 1}, func() error { _, err := conn.PgConn().Exec(ctx, "select 3").ReadAll(); return err })
	do(sent{statements: 2, trips: 1}, func() error {
		p := conn.PgConn().StartPipeline(ctx)
		p.SendQueryParams("select 4", nil, nil, nil, nil)
		p.SendQueryParams("select 5", nil, nil, nil, nil)
		require.NoError(t, p.Sync())
		return p.Close()
	})
	_, lines := w.read()
	assert.EqualValues(t, 1, lines["select 4"])
	assert.EqualValues(t, 8, lines["select $1::int"])
}

// silent is a connection that takes everything.
type silent struct{ net.Conn }

func (silent) Write(p []byte) (int, error) { return len(p), nil }

// TestCountingAllocatesNothing for statements that were seen before, or they would count as allocations of who sends them.
func TestCountingAllocatesNothing(t *testing.T) { // not beside others, whose allocations would be counted
	cfg := &pgx.ConnConfig{}
	(&wire{}).on(cfg)
	conn, err := cfg.AfterNetConnect(context.Background(), nil, silent{})
	require.NoError(t, err)
	startup := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}}
	messages, err := startup.Encode(nil)
	require.NoError(t, err)
	_, err = conn.Write(messages)
	require.NoError(t, err)
	messages = nil
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Query{String: "-- a comment\nbegin; select 1"}, &pgproto3.Parse{Name: "s", Query: "select $1::int"}, &pgproto3.Sync{},
	} {
		messages, err = m.Encode(messages)
		require.NoError(t, err)
	}
	_, err = conn.Write(messages)
	require.NoError(t, err)
	messages = nil
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Query{String: "-- a comment\nbegin; select 1"}, &pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{},
	} {
		messages, err = m.Encode(messages)
		require.NoError(t, err)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := conn.Write(messages); err != nil {
			t.Error(err)
		}
	}))
}
