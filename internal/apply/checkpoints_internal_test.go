package apply

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/partition"
)

// A checkpoint is old by its time or by its distance, and no longer once it was saved.
func TestCheckpointsAreOldByTimeAndByDistance(t *testing.T) {
	t.Parallel()
	c := NewCheckpoints("", "p", "", "", []partition.Lease{{Partition: 0, Floor: 10}, {Partition: 1, Floor: 90}, {Partition: 3, Floor: 100}}, 4)
	old := func(since time.Time, low int64) (partitions []int) {
		for _, f := range c.old(100, since, low) {
			partitions = append(partitions, f.Partition)
		}
		return partitions
	}
	before, after := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	require.Empty(t, old(before, 0), "claimed just now")
	require.Equal(t, []int{0}, old(before, 50), "far behind")
	require.Equal(t, []int{0, 1}, old(after, 0), "but the one that is there")
	c.savedAt[1] = time.Now().Add(2 * time.Hour)
	require.Equal(t, []int{0}, old(after, 0))
	require.True(t, c.Old(100, after, 0))
	fences := c.behind(100)
	c.moved(fences, txEnd{save: c.save(fences, catchup.Mark{Position: 100}), at: &catchup.Saved{}})
	require.False(t, c.Old(100, after, 1000))
}
