package rouse_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// A worker that saves under a snapshot gives its rows pages of their own, so that few saves make an entry in the index. Without that it is
// every second one.
func TestWorkerMovesItsRowsSeldomWhileASnapshotIsHeld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("alter table projection_checkpoints set (autovacuum_enabled = false)")
	worker := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}}}).WaitStarted()
	conn := b.Conn(t)
	for _, sql := range []string{"begin isolation level repeatable read", "select count(*) from events"} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	var types []string
	for range 100 {
		types = append(types, "event")
	}
	const rounds = 160 // about 31 of 32 partitions each; that rows begin to move is noticed within the first of them
	for range rounds {
		b.appendAll(types...)
		require.NoError(t, worker.Drain(b.ctx))
	}
	require.Len(t, b.done("p"), rounds*len(types))
	_ = worker.Stop()
	testdb.Eventually(t, patience, "the server to have counted", func() (bool, error) {
		return b.int("select n_tup_upd from pg_stat_user_tables where relid = 'projection_checkpoints'::regclass") >= rounds*25, nil
	})
	percent := b.int("select 100 * (n_tup_upd - n_tup_hot_upd) / n_tup_upd from pg_stat_user_tables where relid = 'projection_checkpoints'::regclass")
	t.Logf("%d %% of the updates have moved a row", percent)
	require.Less(t, percent, int64(15), "percent of the updates that move a row")
}
