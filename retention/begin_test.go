package retention_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/retention"
)

// begun is kept, and begins at a start.
type begun struct {
	kept
	from rouse.Start
}

func (p begun) StartFrom() rouse.Start { return p.from }

// Several new projections are made in one statement, which the database refuses for the sake of one.
func TestANewProjectionThatWouldBeginInWhatIsArchivedStopsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.model()
	b.append(2, 1, 10)
	b.at("old", 20)
	b.prune(retention.PruneOptions{})
	cfg := rouse.Config{Partitions: 4, Projections: []rouse.Projection{
		begun{kept{"left"}, rouse.Position(19)}, begun{kept{"in it"}, rouse.Position(18)}, begun{kept{"now"}, rouse.Now}, kept{"all"},
	}}
	w := workertest.Start(t, b.Pool, cfg)
	testdb.Eventually(t, patience, "the others to be made", func() (bool, error) {
		return b.int("select count(*) from projections where projection_name in ('left', 'now')") == 2, nil
	})
	b.append(2, 11, 11)
	testdb.Eventually(t, patience, "the others to handle what there is for them", func() (bool, error) {
		return b.int("select count(*) from done where projection = 'left'") == 3 && b.int("select count(*) from done where projection = 'now'") == 2, nil
	})
	for _, name := range []string{"in it", "all"} {
		testdb.Eventually(t, patience, name+" to be stopped", func() (bool, error) { return w.Status().States[name] == rouse.StateStopped, nil })
	}
	w.Cancel()
	err := w.Wait()
	require.ErrorIs(t, err, retention.ErrArchived)
	for _, part := range []string{"in it would begin behind 18", "all would begin behind 0", "rouse archive restore", "begin behind position 19"} {
		require.ErrorContains(t, err, part)
	}
	require.EqualValues(t, 5, b.int("select count(*) from done"))
	require.Zero(t, b.int("select count(*) from projections where projection_name in ('in it', 'all')"), "nothing of them is kept that a later start would go on with")

	// The archive is put back, and they begin.
	_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err)
	require.NoError(t, workertest.Drain(t, b.Pool, cfg))
	require.EqualValues(t, 22, b.int("select count(*) from done where projection = 'all'"))
	require.EqualValues(t, 4, b.int("select count(*) from done where projection = 'in it'"))
}
