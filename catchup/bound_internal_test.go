package catchup

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

var errCutOff = &pgconn.PgError{Code: "57014"} // as the server says it

// A read that ran out of time is never sent again as it was: the next one asks for less and has longer, and it takes several
// reads in time for each step back.
func TestPatience_AReadThatRanOutOfTimeIsNotRepeated(t *testing.T) {
	t.Parallel()
	var p patience
	ctx := t.Context()
	limit, timeout := p.limit(1000), p.timeout()
	require.Equal(t, 1000, limit)
	require.Equal(t, ReadTimeout, timeout)
	for range mostMissed {
		require.ErrorIs(t, p.note(ctx, errCutOff, true), ErrSlow)
		require.Less(t, p.limit(1000), limit)
		require.Greater(t, p.timeout(), timeout)
		limit, timeout = p.limit(1000), p.timeout()
	}
	require.Equal(t, 1, limit)
	require.Equal(t, 8*ReadTimeout, timeout)
	require.ErrorIs(t, p.note(ctx, errCutOff, true), ErrSlow)
	require.Equal(t, 1, p.limit(1000))
	for range mostMissed {
		for range goodReads - 1 {
			require.NoError(t, p.note(ctx, nil, true))
			require.Equal(t, limit, p.limit(1000))
		}
		require.NoError(t, p.note(ctx, nil, true))
		require.Greater(t, p.limit(1000), limit)
		limit = p.limit(1000)
	}
	require.Equal(t, 1000, limit)
}

// Only the time of the read itself counts: not a stop, a wait for a connection, or a database that is away.
func TestPatience_OtherErrorsCountForNothing(t *testing.T) {
	t.Parallel()
	var p patience
	for _, err := range []error{context.DeadlineExceeded, errBehind, &pgconn.PgError{Code: "57P01"}} {
		require.Equal(t, err, p.note(t.Context(), err, true))
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.Equal(t, errCutOff, p.note(stopped, errCutOff, true))
	require.Zero(t, p.steps())
}

// Feeds that hold batches at the same time share the bytes, and each may have enough for a batch of small events.
func TestShare_IsDividedAmongThoseThatHoldBatches(t *testing.T) {
	t.Parallel()
	s := share{bytes: DefaultBytes}
	require.Equal(t, DefaultBytes, s.each())
	s.add(4)
	require.Equal(t, DefaultBytes/4, s.each())
	s.add(100)
	require.Equal(t, leastBytes, s.each())
	s = share{bytes: leastBytes / 2}
	s.add(4)
	require.Equal(t, leastBytes/2, s.each())
}

// A feed takes no more bytes from the buffer at a time than it may have, but at least one event, and misses none.
func TestBuffer_GivesOutNoMoreThanAFeedMayHold(t *testing.T) {
	t.Parallel()
	b := newBuffer(100, DefaultBytes)
	p := b.enter(SlotsOf([]int{0}, 2))
	_, err := p.join(0, false)
	require.NoError(t, err)
	_, slots, ok := b.want()
	require.True(t, ok)
	var events []eventstore.Event
	for i := range 20 {
		size := 100
		if i == 6 {
			size = 5000
		}
		events = append(events, eventstore.Event{GlobalPosition: int64(i + 1), Slot: int16(i % 2), Payload: make([]byte, size)})
	}
	b.add(Batch{Events: events, To: 20, Head: 20}, slots)
	var got [][]int64
	for {
		batch, ok, err := p.next(100, 350)
		require.NoError(t, err)
		if !ok {
			break
		}
		var positions []int64
		for _, ev := range batch.Events {
			positions = append(positions, ev.GlobalPosition)
		}
		got = append(got, positions)
		require.Equal(t, batch.To < 20, batch.More)
	}
	require.Equal(t, [][]int64{{1, 3, 5}, {7}, {9, 11, 13}, {15, 17, 19}}, got)
}

// The number of rows to ask for follows the events of late: it falls at once, and grows by steps where there is room.
func TestBound_AsksForAsMuchAsThereWasRoomFor(t *testing.T) {
	t.Parallel()
	b := Bound{rows: 4}
	b.grow(0.9, 0, 1)
	require.Equal(t, 4, b.rows, "no room")
	b.grow(0, 0.9, 1)
	require.Equal(t, 4, b.rows, "no time")
	b.grow(0.01, 0.01, 100)
	require.Equal(t, 4, b.rows, "one event says little of a hundred")
	b.grow(0.4, 0.1, 1)
	require.Equal(t, 8, b.rows)
	b.grow(0.01, 0.01, 1)
	require.Equal(t, 64, b.rows)
	require.Equal(t, 64, b.Limit(1000))
	require.Equal(t, 10, b.Limit(10))
	require.Equal(t, 10*time.Second, restTime)
}
