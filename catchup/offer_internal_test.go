package catchup

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// offering returns a feed that has a batch of one event in hand, and a function that reads more into its buffer.
func offering(batchSize, batchBytes int) (f *Feed, b Batch, read func(sizes ...int)) {
	source := NewSource(SourceConfig{BatchSize: batchSize, BatchBytes: batchBytes})
	source.joined.add(1)
	buffer := newBuffer(batchSize, batchBytes)
	all := SlotsOf([]int{0}, 1)
	f = &Feed{source: source, place: buffer.enter(all), joined: true}
	_, _ = f.place.join(0, false)
	head := int64(0)
	read = func(sizes ...int) {
		after, slots, _ := buffer.want()
		found := Batch{From: after}
		for _, size := range sizes {
			head++
			found.Events = append(found.Events, eventstore.Event{GlobalPosition: head, Payload: make([]byte, size)})
		}
		found.To, found.Head = head, head
		buffer.add(found, slots)
	}
	read(1)
	b, _, _ = f.place.next(batchSize, batchBytes)
	return f, b, read
}

// A caller that takes longer than a read gets one batch for all that was read meanwhile.
func TestOffer_WhatIsReadMeanwhileIsOneBatch(t *testing.T) {
	t.Parallel()
	f, b, read := offering(100, 64<<20)
	for range 5 {
		read(1, 1)
		require.True(t, f.extend(&b))
	}
	require.True(t, f.extend(&b), "nothing new")
	require.Len(t, b.Events, 11)
	require.Equal(t, int64(0), b.From)
	require.Equal(t, int64(11), b.To)
	require.Equal(t, b.To, f.at, "where the feed goes on")
	for i := range b.Events {
		require.Equal(t, int64(i+1), b.Events[i].GlobalPosition)
	}
}

// The bounds of a batch are those of one that was read at once.
func TestOffer_IsBounded(t *testing.T) {
	t.Parallel()
	f, b, read := offering(4, 64<<20)
	read(1, 1, 1, 1, 1)
	require.True(t, f.extend(&b))
	require.Len(t, b.Events, 4)
	require.True(t, b.More)
	require.False(t, f.extend(&b), "it is full")
	require.Len(t, b.Events, 4)

	const most = 4 << 20
	f, b, read = offering(100, most)
	read(most/2, most/2)
	require.True(t, f.extend(&b))
	require.Len(t, b.Events, 2)
	require.False(t, f.extend(&b), "the next one is too large")
	require.Len(t, b.Events, 2)
	next, ok, err := f.place.next(100, most)
	require.NoError(t, err)
	require.True(t, ok)
	require.Len(t, next.Events, 1)
	require.Equal(t, b.To, next.From)
}

// A feed whose buffer has let go of what it needs sends what it has.
func TestOffer_EndsWithTheBuffer(t *testing.T) {
	t.Parallel()
	f, b, _ := offering(4, 64<<20)
	f.place.buffer.fail(ErrIncarnation)
	require.False(t, f.extend(&b))
	require.Len(t, b.Events, 1)
}
