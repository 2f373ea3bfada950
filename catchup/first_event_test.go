package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// The very first event of a log may be committed between the look at the head, which shows none, and the look at the events.
// That is no missing right.
func TestFirstEventMayComeInTheMiddleOfARead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := testdb.New(t)
	log, err := catchup.Open(ctx, db.Pool)
	require.NoError(t, err)
	token, err := catchup.CurrentToken(ctx, db.Pool)
	require.NoError(t, err)
	cfg := db.Pool.Config()
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	require.NoError(t, err)
	defer pool.Close()
	reader := catchup.NewReader(pool, log, token, catchup.SlotsOf([]int{0}, 1), 0)
	_, err = reader.Next(ctx, 10) // prepares the statements
	require.NoError(t, err)

	tx, err := db.Conn(t).Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, "lock table events in access exclusive mode")
	require.NoError(t, err)
	type outcome struct {
		batch catchup.Batch
		err   error
	}
	read := make(chan outcome, 1)
	go func() {
		b, err := reader.Next(ctx, 10)
		read <- outcome{b, err}
	}()
	testdb.Eventually(t, patience, "the read to wait for the table", func() (waits bool, err error) {
		err = db.Pool.QueryRow(ctx, "select exists (select from pg_locks where not granted and relation = 'events'::regclass)").Scan(&waits)
		return waits, err
	})
	_, err = tx.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('test', '1', 1, 'Happened', '{}')`)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(ctx))
	out := <-read
	require.NoError(t, out.err)
	require.Len(t, out.batch.Events, 1)
}
