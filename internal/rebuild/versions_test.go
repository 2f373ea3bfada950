package rebuild_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

// v2 counts tenfold, in a table with one more column that it makes itself.
type v2 struct{ tally }

func (v2) Create(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "create table counts (type text constraint counts_key primary key, n bigint not null, more text not null default 'v2')")
	return err
}

func ready(one projection.Build) bool { return one.Near && one.Workers > 0 }

func (b *bundle) version() int64 {
	return b.int("select version from projections where projection_name = 'p'")
}

// Version 2 is built beside version 1, which the old worker goes on with; it is promoted, and back, and forth; and each worker leaves
// alone what is not its own.
func TestAVersionTakesThePlaceAndGivesItBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(100, "e")
	old := workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{}}, Label: "old"}).WaitStarted()
	b.countedTo("e", 100)
	young := workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{v2{tally{version: 2, times: 10}}}, Label: "new"}).WaitStarted()
	b.append(100, "e")
	b.countedTo("e", 200)
	b.beside("p@2", "near", ready)
	require.EqualValues(t, 1, b.version())
	require.NoError(t, young.Drain(b.ctx), "a worker whose version rests has nothing to wait for")

	for range 2 {
		done, err := projection.Promote(b.ctx, b.Pool, "p", 0)
		require.NoError(t, err)
		require.Equal(t, projection.Promoted{Version: 2, Kept: "p@1"}, done)
		require.EqualValues(t, 2, b.version())
		b.append(10, "f")
		before := b.counted("e") / 10
		require.EqualValues(t, 200, before)
		testdb.Eventually(t, patience, "version 2 to go on", func() (bool, error) { return b.counted("f")%10 == 0 && b.counted("f") > 0, nil })
		require.EqualValues(t, 1, b.int("select count(distinct more) from counts where more = 'v2'"))
		b.beside("p@1", "near", ready)

		back, err := projection.Promote(b.ctx, b.Pool, "p", 1)
		require.NoError(t, err)
		require.Equal(t, projection.Promoted{Version: 1, Kept: "p@2"}, back)
		require.EqualValues(t, 200, b.counted("e"))
		b.beside("p@2", "near", ready)
	}
	b.countedTo("f", 20)

	// The last old worker is gone. What it had is dropped.
	_, err := projection.Promote(b.ctx, b.Pool, "p", 2)
	require.NoError(t, err)
	old.MustStop()
	require.NoError(t, projection.DropBuild(b.ctx, b.Pool, "p@1"))
	require.Zero(t, b.leftovers())
	b.append(1, "g")
	b.countedTo("g", 10)
	_, err = projection.Promote(b.ctx, b.Pool, "p", 1)
	require.ErrorIs(t, err, projection.ErrNoBuild)
	_, err = projection.Promote(b.ctx, b.Pool, "p", 2)
	require.ErrorIs(t, err, projection.ErrRefused)

	// An old worker that comes back leaves the projection alone.
	again := workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{}}}).WaitStarted()
	b.append(1, "g")
	b.countedTo("g", 20)
	again.MustStop()
	young.MustStop()
}

// With the policy, nobody has to say so.
func TestAVersionTakesThePlaceByItselfWhereThatIsConfigured(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(100, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 100)
	workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{version: 2, times: 10}}, PromoteCaughtUp: true}).WaitStarted()
	b.countedTo("e", 1000)
	require.EqualValues(t, 2, b.version())
	b.beside("p@1", "near", ready)
}

// Where nothing is live yet, a version is live at once.
func TestTheFirstVersionIsLiveWhateverItsNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10, "e")
	b.start(tally{version: 7}).WaitStarted()
	b.countedTo("e", 10)
	require.EqualValues(t, 7, b.version())
	require.Zero(t, b.leftovers())
}

// A version that is not near yet, or has set events aside, is not promoted, and nothing changes.
func TestAVersionThatIsBehindIsNotPromoted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := newHeld()
	b.append(10, "e")
	b.append(1, "held")
	b.start(tally{}).WaitStarted()
	b.countedTo("held", 1)
	workertest.Start(t, b.pool(), rouse.Config{Projections: []rouse.Projection{tally{version: 2, hook: h.hook}}}).WaitStarted()
	<-h.at
	_, err := projection.Promote(b.within(8*time.Second), b.Pool, "p", 2)
	require.Error(t, err)
	require.EqualValues(t, 1, b.version())
	close(h.release)
	b.append(1, "e")
	b.countedTo("e", 11)
	_, err = projection.Promote(b.ctx, b.Pool, "p", 3)
	require.ErrorIs(t, err, projection.ErrNoBuild)
	b.beside("p@2", "near", ready)
	_, err = projection.Promote(b.ctx, b.Pool, "p", 2)
	require.NoError(t, err)
}

// Of a version without workers, what was built stays, and does not keep the live one from anything.
func TestTheNamesOfBuildsAreNotForProjections(t *testing.T) {
	t.Parallel()
	_, err := rouse.New(nil, rouse.Config{Projections: []rouse.Projection{named{tally{}}}})
	require.ErrorIs(t, err, rouse.ErrConfig)
	require.ErrorContains(t, err, "the name p@2 has a @")
	_, err = rouse.New(nil, rouse.Config{Projections: []rouse.Projection{negative{tally{}}}})
	require.ErrorContains(t, err, "Version -1 of p is below 1")
}

type named struct{ tally }

func (named) Name() string { return "p@2" }

type negative struct{ tally }

func (negative) Version() int { return -1 }
