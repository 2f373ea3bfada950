package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// isolate cuts the standby of a server off for good. What the server commits from now on the standby never gets.
func isolate(ctx context.Context, t *testing.T, s *stage, primary *pgserver.Server) {
	t.Helper()
	path := filepath.Join(primary.DataDir(), "pg_hba.conf")
	rules, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	require.NoError(t, err)
	_, err = f.WriteString("host replication all all reject\n" + string(rules))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s.exec("select pg_reload_conf()")
	testdb.Eventually(t, patience, "the standby to be cut off", func() (bool, error) {
		var left int
		err := s.Pool.QueryRow(ctx, "select count(pg_terminate_backend(pid)) from pg_stat_replication").Scan(&left)
		return left == 0, err
	})
}

// A worker lives through the promotion of an asynchronous standby that lacks part of what the worker had done: the new
// primary gives the same positions to other events, and its checkpoints are behind what the worker remembers.
func TestPromotionOfALaggingStandbyIsFollowed(t *testing.T) {
	t.Parallel()
	primary := testdb.Server(t, nil)
	old := newStage(t, testdb.On(t, primary))
	standby, err := primary.Standby(old.ctx)
	require.NoError(t, err)
	testdb.StopAtCleanup(t, standby)
	front := newAddress(t, primary.Port())

	var calls atomic.Int64
	count := func(context.Context, pgx.Tx, eventstore.Event) error { calls.Add(1); return nil }
	w := old.start(old.pool(front.url(old.URL)), rouse.Config{
		Projections: []rouse.Projection{recorder{name: "single", hook: count}, batchRecorder{recorder{name: "batched"}}}, BatchSize: 10,
	}).WaitStarted()
	_, err = old.Pool.Exec(old.ctx, appendSQL, "a", 20)
	require.NoError(t, err)
	old.exact("single")
	old.exact("batched")
	old.eventually(patience, "the standby to have all of it", `select bool_and(replay_lsn >= pg_current_wal_lsn()) from pg_stat_replication`)

	refused := old.start(old.pool(standby.URL(old.Name)), rouse.Config{Projections: []rouse.Projection{recorder{name: "single"}}})
	require.ErrorIs(t, refused.Wait(), catchup.ErrSource)
	require.ErrorContains(t, refused.Wait(), "connect to the primary")

	isolate(old.ctx, t, old, primary)
	_, err = old.Pool.Exec(old.ctx, appendSQL, "b", 50) // positions that the new primary will give to others
	require.NoError(t, err)
	old.exact("single")
	old.exact("batched")
	require.EqualValues(t, 70, calls.Load())

	front.target.Store(int64(standby.Port())) // it still refuses writes; the worker has to wait
	front.cut()
	require.NoError(t, standby.Promote(old.ctx))
	fresh := &stage{DB: &testdb.DB{URL: standby.URL(old.Name), Name: old.Name, Pool: old.pool(standby.URL(old.Name))}, ctx: old.ctx, t: t}
	require.EqualValues(t, 20, fresh.int("select count(*) from events"), "the standby must not know what came later, or nothing is shown")
	_, err = fresh.Pool.Exec(fresh.ctx, appendSQL, "c", 5)
	require.NoError(t, err)
	require.Less(t, fresh.int("select max(global_position) from events"), old.int("select max(global_position) from events"),
		"a reader that remembers its cursor must have the new events behind it, or nothing is shown")
	fresh.exact("single")
	fresh.exact("batched")
	_, err = fresh.Pool.Exec(fresh.ctx, appendSQL, "d", 100) // past the remembered cursor
	require.NoError(t, err)
	fresh.exact("single")
	fresh.exact("batched")
	w.MustStop()
	fresh.exact("single")
	require.Equal(t, faults{}, old.faults("single"), "the old primary is left as it was")
}
