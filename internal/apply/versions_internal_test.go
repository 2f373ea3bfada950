package apply

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// More aggregates than are remembered push each other out, and are never taken for one another.
func TestVersionsOfManyAggregatesAreNotMistakenForGaps(t *testing.T) {
	t.Parallel()
	reported := 0
	v := NewVersions(zerolog.Nop(), func(eventstore.Event, int64) { reported++ }, 1)
	const aggregates = 2 * watchedStreams
	see := func(version int64) {
		for i := range aggregates {
			// Types and ids are the same names in another order, and each aggregate has a version of its own.
			ev := eventstore.Event{AggregateType: fmt.Sprint(i % 300), AggregateID: fmt.Sprint(i / 300), AggregateVersion: version + int64(i)}
			v.see(&ev)
		}
	}
	see(1)
	see(2)
	require.Zero(t, reported)
	see(4)
	require.Greater(t, reported, watchedStreams/10, "and of those that are remembered each gap is")
	reported = 0
	v.Forget()
	see(7)
	require.Zero(t, reported)
}

// Many projections in one process watch with the memory of a few.
func TestVersionsOfManyProjectionsShareTheirMemory(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, watchedStreams, streams(1))
	for projections := range 600 {
		require.LessOrEqual(t, int(streams(projections))*projections, max(allStreams, leastStreams*projections))
		require.Zero(t, streams(projections)&(streams(projections)-1), "a power of two")
	}
	reported := 0
	v := NewVersions(zerolog.Nop(), func(eventstore.Event, int64) { reported++ }, 200)
	for version := range 3 {
		v.see(&eventstore.Event{AggregateID: "a", AggregateVersion: int64(1 + 2*version)})
	}
	require.Equal(t, 1, reported, "a gap is reported once")
}

// BenchmarkVersions watches over the versions of 1000 aggregates that take turns, and of ones that come once. One operation is
// one event.
func BenchmarkVersions(b *testing.B) {
	for _, of := range []struct {
		name       string
		aggregates int
	}{{"turns", 1000}, {"once", 200_000}} {
		b.Run(of.name, func(b *testing.B) {
			v := NewVersions(zerolog.Nop(), nil, 1)
			events := make([]eventstore.Event, of.aggregates)
			for i := range events {
				events[i] = eventstore.Event{AggregateType: "thing", AggregateID: fmt.Sprint("aggregate-", i)}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				ev := &events[n%len(events)]
				ev.AggregateVersion++
				v.see(ev)
				n++
			}
			require.Empty(b, v.reported)
		})
	}
}
