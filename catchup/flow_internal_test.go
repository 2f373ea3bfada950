package catchup

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Feeds that read by themselves share the events that one of them may hold, so that many projections that are far behind take no more
// memory than one; each may have a batch of the first size.
func TestSource_FeedsThatReadAloneShareTheEventsOfAFlow(t *testing.T) {
	t.Parallel()
	s := NewSource(SourceConfig{BatchSize: 1000, MostBatch: 10_000})
	for _, c := range []struct{ feeds, size, each, batches int }{
		{1, 1000, 1000, 4}, {1, 10_000, 10_000, 4}, {1, 16_000, 16_000, 2}, {1, 40_000, 40_000, 1}, {1, 80_000, 40_000, 1}, {2, 40_000, 20_000, 1}, {2, 10_000, 5000, 4}, {10, 10_000, 1000, 4}, {20, 10_000, 1000, 2}, {40, 10_000, 1000, 1}, {200, 10_000, 1000, 1},
	} {
		s.alone.add(int32(c.feeds))
		each, batches := s.portion(c.size)
		require.Equal(t, []int{c.each, c.batches}, []int{each, batches}, "%d feeds", c.feeds)
		s.alone.add(-int32(c.feeds))
	}
	each, batches := NewSource(SourceConfig{BatchSize: 70}).portion(70)
	require.Equal(t, []int{70, 4}, []int{each, batches})
}
