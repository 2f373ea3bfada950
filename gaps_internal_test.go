package rouse

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
	g := newGaps(zerolog.Nop(), Observer{VersionGap: func(string, eventstore.Event, int64) { reported++ }}, "p")
	const aggregates = 2 * watchedStreams
	see := func(version int64) {
		for i := range aggregates {
			// Types and ids are the same names in another order, and each aggregate has a version of its own.
			ev := eventstore.Event{AggregateType: fmt.Sprint(i % 300), AggregateID: fmt.Sprint(i / 300), AggregateVersion: version + int64(i)}
			g.see(&ev)
		}
	}
	see(1)
	see(2)
	require.Zero(t, reported)
	see(4)
	require.Greater(t, reported, watchedStreams/10, "and of those that are remembered each gap is")
	reported = 0
	g.forget()
	see(7)
	require.Zero(t, reported)
}
