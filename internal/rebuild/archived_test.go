package rebuild_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/retention"
)

// prune has the events leave the log that all projections have handled, and returns where they went and behind which position it is whole.
func (b *bundle) prune() (dir string, whole int64) {
	b.t.Helper()
	dir = b.t.TempDir()
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: dir})
	require.NoError(b.t, err)
	whole = b.int("select whole_from from rouse_retention")
	require.Positive(b.t, whole)
	return dir, whole
}

// passed waits until the checkpoints of all partitions are at a position.
func (b *bundle) passed(name string, position int64) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "all partitions of "+name+" to come to it", func() (bool, error) {
		return b.int("select min(last_global_position) from projection_checkpoints where projection_name = $1", name) >= position, nil
	})
}

// A read model is not built of half a history. Nothing is made then, and what helps is in the error.
func TestARebuildOfALogThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(30, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 30)
	b.passed("p", 30)
	dir, whole := b.prune()
	for _, from := range []projection.Start{"", rouse.Beginning, rouse.Position(whole - 1)} {
		err := projection.Rebuild(b.ctx, b.Pool, "p", from, nil)
		require.ErrorIs(t, err, catchup.ErrArchived)
		for _, part := range []string{"the log lacks events up to position", dir, "rouse archive restore", "begin behind position"} {
			require.ErrorContains(t, err, part)
		}
	}
	require.Zero(t, b.leftovers())
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", rouse.Position(whole), nil), "behind it there is all")
	require.EqualValues(t, 1, b.counted("e"))

	_, err := retention.Restore(b.ctx, b.Pool, dir, 0)
	require.NoError(t, err)
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 30, b.counted("e"))
}

// A build that is under way holds the events that it has still to handle, wherever the live one stands, and so do those that it has set aside.
func TestPruneLeavesWhatABuildHasStillToHandle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := newHeld()
	b.append(10, "e")
	b.append(1, "held")
	b.append(10, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 20)
	b.passed("p", 21)
	workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{version: 2, hook: h.hook}}}).WaitStarted()
	<-h.at
	plan, err := retention.PlanPrune(b.ctx, b.Pool, retention.PruneOptions{Dir: t.TempDir()})
	require.NoError(t, err)
	require.Less(t, plan.Until, int64(11))
	require.Equal(t, "p@2", plan.Holders[0].Projection)
	close(h.release)
	b.passed("p@2", 21)
	b.exec(`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type)
		select 'p@2', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type from events where global_position = 5`)
	plan, err = retention.PlanPrune(b.ctx, b.Pool, retention.PruneOptions{Dir: t.TempDir()})
	require.NoError(t, err)
	require.EqualValues(t, 4, plan.Until)
	require.Equal(t, "p@2", plan.Holders[0].Projection)
}

// A version that cannot be built keeps its worker from nothing else: not from its other builds, and not from its own once it can be.
func TestAVersionThatCannotBeBuiltKeepsNoOtherBuildFromIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(30, "e")
	workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{}}, Label: "old"}).WaitStarted()
	b.countedTo("e", 30)
	b.passed("p", 30)
	dir, whole := b.prune()
	_, err := projection.Create(b.ctx, b.Pool, "q", rouse.Position(whole), 0)
	require.NoError(t, err)
	b.exec("create table others (type text primary key, n bigint not null)")
	workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{version: 2, times: 10}, others{}}}).WaitStarted()
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "q", "", nil))
	require.EqualValues(t, 1, b.int("select version from projections where projection_name = 'p'"))
	require.Zero(t, b.leftovers())

	_, err = retention.Restore(b.ctx, b.Pool, dir, 0)
	require.NoError(t, err)
	b.beside("p@2", "near", ready)
}

// others counts in a table of its own.
type others struct{ tally }

func (others) Name() string     { return "q" }
func (others) Tables() []string { return []string{"others"} }

func (others) Apply(ctx context.Context, tx pgx.Tx, ev event) error {
	_, err := tx.Exec(ctx, "insert into others as o (type, n) values ($1, 1) on conflict (type) do update set n = o.n + 1", ev.Type)
	return err
}
