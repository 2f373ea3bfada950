package catchup_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// A feed far behind asked for more than comes in the time of a read, and asks for less. What others read of the end of the log
// meanwhile, an event at a time, does not show that it may ask for all of that again.
func TestPatience_TheEndOfTheLogSaysNothingOfReadsFarBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	source := catchup.NewSource(catchup.SourceConfig{Pool: b.Pool, BatchSize: 1000})
	feed := source.Feed(catchup.FeedConfig{Log: b.log, Token: b.token, Slots: allSlots()})
	ctx, cancel := context.WithCancel(b.ctx)
	var running sync.WaitGroup
	running.Go(func() { feed.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	next := func(position int64) {
		for batch := range feed.C {
			if batch.To >= position {
				return
			}
		}
		require.NoError(t, feed.Err())
	}
	next(b.append(b.Pool, 1)[0])
	catchup.TooSlow(t.Context(), source)
	require.Equal(t, 1, catchup.Smaller(source))
	for range 20 {
		next(b.append(b.Pool, 1)[0])
	}
	require.Equal(t, 1, catchup.Smaller(source))
}

// Of the reads of those that are far behind too, only such count as have brought all that they asked for.
func TestPatience_ReadsThatFoundLessThanTheyAskedForCountForNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	source := catchup.NewSource(catchup.SourceConfig{Pool: b.Pool, BatchSize: 1000})
	reader := b.reader(b.Pool, 0)
	catchup.LikeAFeedOf(source, reader)
	catchup.TooSlow(t.Context(), source)
	for range 20 {
		b.append(b.Pool, 1)
		found, _ := b.next(reader, 1000)
		require.Len(t, found, 1)
	}
	require.Equal(t, 1, catchup.Smaller(source))
	b.append(b.Pool, 400)
	for range 4 {
		found, _ := b.next(reader, 1000)
		require.Len(t, found, 100, "a tenth of what it would be")
	}
	require.Zero(t, catchup.Smaller(source))

	// A read that looks through as many positions as it may, and finds nothing, has brought all that it asked for.
	catchup.TooSlow(t.Context(), source)
	b.exec("select setval('events_global_position_seq', 1000000)")
	for range 4 {
		found, _ := b.next(reader, 1000)
		require.Empty(t, found)
	}
	require.Zero(t, catchup.Smaller(source))
}
