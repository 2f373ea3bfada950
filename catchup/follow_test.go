package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

// follow reads once and returns the positions found.
func (b *bundle) follow(r *catchup.Reader, limit int, probing bool) ([]int64, catchup.Batch) {
	b.t.Helper()
	batch, ok, err := r.Follow(b.ctx, limit, probing)
	require.NoError(b.t, err)
	require.True(b.t, ok)
	return positionsOf(batch.Events), batch
}

func positionsOf(events []eventstore.Event) []int64 {
	positions := []int64{}
	for _, ev := range events {
		positions = append(positions, ev.GlobalPosition)
	}
	return positions
}

// A read that does not look at the locks may hand out only what no open append could get in between of.
func TestFollow(t *testing.T) {
	t.Parallel()

	t.Run("HandsOutWhatIsContiguous", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		want := b.append(b.Pool, 3)
		found, batch := b.follow(reader, 100, false)
		require.Equal(t, want, found)
		require.False(t, batch.More)
		require.False(t, batch.Blocked)
		found, batch = b.follow(reader, 100, false)
		require.Empty(t, found, "handed out once")
		require.False(t, batch.Blocked, "nothing is behind a hole")
		more := b.append(b.Pool, 5)
		found, batch = b.follow(reader, 2, false)
		require.Equal(t, more[:2], found)
		require.True(t, batch.More, "as many as it may bring")
		found, _ = b.follow(reader, 2, false)
		require.Equal(t, more[2:4], found)
	})

	t.Run("StopsAtAHoleUntilItIsFilled", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		below := b.append(b.Pool, 2)
		slow := b.begin(pgx.ReadCommitted)
		hole := b.append(slow, 1)
		above := b.append(b.Pool, 2)
		found, batch := b.follow(reader, 100, false)
		require.Equal(t, below, found, "what is below the hole is not held up")
		require.True(t, batch.Blocked)
		require.False(t, batch.More)
		for _, probing := range []bool{false, true} {
			found, batch = b.follow(reader, 100, probing)
			require.Empty(t, found)
			require.True(t, batch.Blocked)
			require.Equal(t, below[1], batch.To)
		}
		require.NoError(t, slow.Commit(b.ctx))
		found, batch = b.follow(reader, 100, true)
		require.Equal(t, hole, found, "the event that was waited for")
		require.True(t, batch.More, "and others behind it")
		found, _ = b.follow(reader, 100, false)
		require.Equal(t, above, found)
	})

	t.Run("SeesAHoleBehindTheLastEventThatItMayBring", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		slow := b.begin(pgx.ReadCommitted)
		b.append(slow, 1)
		b.append(b.Pool, 1)
		_, batch := b.follow(reader, 1, false)
		require.True(t, batch.Blocked)
	})

	t.Run("LeavesADeadHoleToALookAtTheLocks", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		below := b.append(b.Pool, 1)
		dead := b.begin(pgx.ReadCommitted)
		b.append(dead, 1)
		above := b.append(b.Pool, 3)
		require.NoError(t, dead.Rollback(b.ctx))
		b.follow(reader, 100, false)
		_, batch := b.follow(reader, 100, false)
		require.True(t, batch.Blocked)
		require.Equal(t, below[0], batch.To)
		found, batch := b.next(reader, 1)
		require.Equal(t, above[:1], found)
		require.Equal(t, above[2], batch.Settled)
		_, ok, err := reader.Follow(b.ctx, 100, false)
		require.NoError(t, err)
		require.False(t, ok, "what is settled is read over by Next, holes and all")
		found, _ = b.next(reader, 100)
		require.Equal(t, above[1:], found)
	})

	t.Run("SaysNothingOfAnOpenAppendAtTheEnd", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		below := b.append(b.Pool, 1)
		slow := b.begin(pgx.ReadCommitted)
		open := b.append(slow, 1)
		found, batch := b.follow(reader, 100, false)
		require.Equal(t, below, found)
		require.Equal(t, open[0], batch.Head)
		require.Equal(t, below[0], batch.Settled, "the open append's position is not settled")
		require.False(t, batch.Blocked)
		require.Negative(t, batch.Holders, "nobody has counted them")
	})

	t.Run("KnowsTheSlotsOfItsReader", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.append(b.Pool, 64)
		handed := 0
		for p := range 2 {
			reader := catchup.NewReader(b.Pool, b.log, b.token, catchup.SlotsOf([]int{p}, 2), 0)
			_, batch := b.follow(reader, 100, false)
			require.Equal(t, int64(64), batch.To, "also over those of others")
			for _, ev := range batch.Events {
				require.Equal(t, int16(p), ev.Slot%2)
			}
			handed += len(batch.Events)
		}
		require.Equal(t, 64, handed)
	})

	t.Run("SeesAnotherIncarnationAndALogThatHasGoneBack", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		positions := b.append(b.Pool, 2)
		_, _, err := b.reader(b.Pool, positions[1]+5).Follow(b.ctx, 100, false)
		require.ErrorIs(t, err, catchup.ErrLogBehind)
		b.exec("truncate rouse_incarnation")
		_, _, err = b.reader(b.Pool, 0).Follow(b.ctx, 100, false)
		require.ErrorIs(t, err, catchup.ErrIncarnation)
	})
}
