package rebuild_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/rebuild"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

// versions starts a worker of version 1, and one of version 2, which is built beside.
func (b *bundle) versions() (old, young *workertest.Worker) {
	b.t.Helper()
	old = workertest.Start(b.t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{}}, Label: "old"}).WaitStarted()
	testdb.Eventually(b.t, patience, "version 1 to be live", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where projection_name = 'p' and owner is not null") > 0, nil
	})
	young = workertest.Start(b.t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{version: 2, times: 10}}, Label: "new"}).WaitStarted()
	b.beside("p@2", "near", ready)
	return old, young
}

// A worker of another version makes what is beside the projection anew as soon as it is dropped. A drop by force is the end of both all
// the same, with all tables that are in schemas of Rouse's.
func TestADropByForceTakesWhatIsBesideAlong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20, "e")
	old, young := b.versions()
	waits := make(chan error, 1)
	go func() { waits <- rouse.WaitForPosition(b.ctx, b.Pool, "p", 1<<40) }()
	require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "p"))

	old.MustStop()
	require.NoError(t, projection.DropBuild(b.ctx, b.Pool, "p@2"))
	b.beside("p@2", "near", ready)
	err := projection.Drop(b.ctx, b.Pool, "p", false)
	require.ErrorIs(t, err, projection.ErrInUse)
	require.ErrorContains(t, err, "p@2 is run by new")
	require.NoError(t, projection.Drop(b.ctx, b.Pool, "p", true))
	require.ErrorIs(t, <-waits, rouse.ErrNoProjection)
	require.ErrorIs(t, young.Wait(), rouse.ErrDropped)
	require.Zero(t, b.leftovers())
	require.Zero(t, b.int("select (select count(*) from projections) + (select count(*) from projection_checkpoints)"))
	require.EqualValues(t, 20, b.counted("e"), "the read model that was live is its owner's to drop")
}

// What no worker runs any more, such as the version before, holds tables that the operator may want.
func TestWhatIsKeptBesideKeepsAProjectionItsName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20, "e")
	old, young := b.versions()
	_, err := projection.Promote(b.ctx, b.Pool, "p", 2)
	require.NoError(t, err)
	old.MustStop()
	young.MustStop()
	for _, err := range []error{projection.Drop(b.ctx, b.Pool, "p", false), projection.Rename(b.ctx, b.Pool, "p", "q")} {
		require.ErrorIs(t, err, projection.ErrBeside)
		require.NotErrorIs(t, err, projection.ErrInUse)
		require.ErrorContains(t, err, "p@1 (rouse projection drop p@1)")
	}
	require.ErrorIs(t, projection.Rename(b.ctx, b.Pool, "p@1", "q"), projection.ErrName)
	require.NoError(t, projection.Drop(b.ctx, b.Pool, "p@1", false))
	require.NoError(t, projection.Rename(b.ctx, b.Pool, "p", "q"))
	require.NoError(t, projection.Drop(b.ctx, b.Pool, "q", false))
	require.Zero(t, b.leftovers())
}

// Whoever promotes may have one connection.
func TestAPromotionNeedsOneConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20, "e")
	b.versions()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(t, err)
	cfg.MaxConns = 1
	one, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(t, err)
	defer one.Close()
	_, err = projection.Promote(b.ctx, one, "p", 2)
	require.NoError(t, err)
}

// pair has two tables.
type pair struct{ tally }

func (pair) Tables() []string { return []string{"counts", "lines"} }

// A handler that is still at work may hold the tables in another order than the drop that waits for it.
func TestADropOfABuildGivesWayToAHandlerAndComesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table lines (n bigint)")
	b.append(5, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 5)
	young := b.start(pair{tally{version: 2}})
	b.beside("p@2", "near", ready)
	young.MustStop()

	handler, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	for _, sql := range []string{"set local deadlock_timeout = '1h'", "lock table rouse_p_2.lines in row exclusive mode"} {
		_, err = handler.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	dropped := make(chan error, 1)
	go func() { dropped <- projection.DropBuild(b.ctx, b.Pool, "p@2") }()
	testdb.Eventually(t, patience, "the drop to wait", func() (bool, error) {
		return b.int("select count(*) from pg_locks where not granted and relation = 'rouse_p_2.lines'::regclass") == 1, nil
	})
	_, err = handler.Exec(b.ctx, "lock table rouse_p_2.counts in row exclusive mode")
	require.NoError(t, err, "the drop gives way")
	require.NoError(t, handler.Rollback(b.ctx))
	require.NoError(t, <-dropped)
	require.Zero(t, b.leftovers())
}

// A worker that starts with another version waits for whoever changes the projection, and holds nothing that this one is about to need.
func TestAStartOfAVersionLocksInTheOrderOfAllOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := projection.Create(b.ctx, b.Pool, "p", "", 4)
	require.NoError(t, err)
	change, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	_, err = change.Exec(b.ctx, "select from projections for update")
	require.NoError(t, err)
	adopted := make(chan error, 1)
	go func() { adopted <- rebuild.Adopt(b.ctx, db.In(b.Pool, ""), "p", 2) }()
	testdb.Eventually(t, patience, "the start to wait", func() (bool, error) {
		return b.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, nil
	})
	_, err = change.Exec(b.ctx, "select from projection_checkpoints for update nowait")
	require.NoError(t, err)
	require.NoError(t, change.Rollback(b.ctx))
	require.NoError(t, <-adopted)
	require.EqualValues(t, 2, b.version())
}
