package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// A glance does not look at the locks, so it may hand out only what no open append could get in between of.
func TestGlance(t *testing.T) {
	t.Parallel()

	t.Run("HandsOutWhatIsContiguousUpToTheHead", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		want := b.append(b.Pool, 3)
		got, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.True(t, ok)
		require.Len(t, got.Events, 3)
		require.Equal(t, want[2], got.To)
		require.True(t, got.More, "a full look has to follow")
		require.True(t, got.AtHead, "but not at once")
		found, _ := b.next(reader, 100)
		require.Empty(t, found, "handed out once")
	})

	t.Run("FindsNothingWhereEverythingIsRead", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.append(b.Pool, 3)
		reader := b.reader(b.Pool, 0)
		b.next(reader, 100)
		got, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.True(t, ok)
		require.Empty(t, got.Events)
		require.Equal(t, got.From, got.To)
		require.True(t, got.AtHead)

		slow := b.begin(pgx.ReadCommitted)
		b.append(slow, 1)
		_, ok, err = reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.False(t, ok, "an append is open")
	})

	t.Run("HandsOutTheFirstWhereMoreWaitThanItBrings", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		want := b.append(b.Pool, 100)
		slow := b.begin(pgx.ReadCommitted)
		hole := b.append(slow, 1)
		above := b.append(b.Pool, 1)
		got, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.True(t, ok)
		require.Len(t, got.Events, 100, "nothing can come in between of them")
		require.Equal(t, want[99], got.To)
		require.Equal(t, want[99], got.Settled, "and nothing is said of what is above")
		require.True(t, got.More)
		require.False(t, got.AtHead, "a full look has to follow at once")
		found, batch := b.next(reader, 100)
		require.Empty(t, found, "the event above the hole was handed out")
		require.True(t, batch.Blocked)
		require.NoError(t, slow.Commit(b.ctx))
		found, _ = b.next(reader, 100)
		require.Equal(t, append(hole, above...), found)
	})

	t.Run("LeavesAHoleAmongManyToTheFullLook", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		b.append(b.Pool, 99)
		slow := b.begin(pgx.ReadCommitted)
		b.append(slow, 1)
		b.append(b.Pool, 50)
		_, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.False(t, ok, "the hole is the last position that a glance looks at")
		require.NoError(t, slow.Rollback(b.ctx))
	})

	t.Run("LeavesAHoleToTheFullLook", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		slow := b.begin(pgx.ReadCommitted)
		hole := b.append(slow, 1)
		above := b.append(b.Pool, 1)
		_, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.False(t, ok, "the event above the hole was handed out")
		require.NoError(t, slow.Commit(b.ctx))
		found, _ := b.next(reader, 100)
		require.Equal(t, append(hole, above...), found, "nothing was skipped")
	})

	t.Run("LeavesAnOpenAppendAtTheEndToTheFullLook", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		below := b.append(b.Pool, 1)
		slow := b.begin(pgx.ReadCommitted)
		b.append(slow, 1)
		_, ok, err := reader.Glance(b.ctx, false)
		require.NoError(t, err)
		require.False(t, ok, "what is settled must not be said of the open append's position")
		found, batch := b.next(reader, 100)
		require.Equal(t, below, found)
		require.Equal(t, below[0], batch.Settled)
	})

	t.Run("KnowsTheSlotsOfItsReader", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.append(b.Pool, 64)
		handed := 0
		for p := range 2 {
			reader := catchup.NewReader(b.Pool, b.log, b.token, catchup.SlotsOf([]int{p}, 2), 0)
			got, ok, err := reader.Glance(b.ctx, false)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, int64(64), got.To)
			for _, ev := range got.Events {
				require.Equal(t, int16(p), ev.Slot%2)
			}
			handed += len(got.Events)
		}
		require.Equal(t, 64, handed)
	})

	t.Run("SeesAnotherIncarnation", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		reader := b.reader(b.Pool, 0)
		b.append(b.Pool, 1)
		b.exec("truncate rouse_incarnation")
		_, _, err := reader.Glance(b.ctx, false)
		require.ErrorIs(t, err, catchup.ErrIncarnation)
	})
}

// A reader that has read everything asks for nothing but the head, and only a look that could find nothing more ends with that.
func TestPeek(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	peek := func() bool {
		got, ok, err := reader.Peek(b.ctx)
		require.NoError(t, err)
		if ok {
			require.Empty(t, got.Events)
			require.Equal(t, got.Head, got.To)
			require.Equal(t, got.Head, got.Settled)
			require.False(t, got.More)
			require.True(t, got.Push, "as the last look at the triggers found it")
		}
		return ok
	}
	b.append(b.Pool, 2)
	require.False(t, peek(), "there is something to read")
	b.next(reader, 10)
	require.True(t, peek())

	slow := b.begin(pgx.ReadCommitted)
	b.append(slow, 1)
	require.False(t, peek(), "an append is open, which only a look at the locks can judge")
	require.NoError(t, slow.Rollback(b.ctx))
	require.False(t, peek(), "nobody has looked at the hole yet")
	b.next(reader, 10)
	require.True(t, peek(), "the hole is settled")

	_, err := b.Pool.Exec(b.ctx, "update rouse_incarnation set token = gen_random_uuid()")
	require.NoError(t, err)
	_, _, err = reader.Peek(b.ctx)
	require.ErrorIs(t, err, catchup.ErrIncarnation)
}
