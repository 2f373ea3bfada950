package partition_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/partition"
)

func TestParseIndex(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]int{"0": 0, "3": 3, "worker-2": 2, "my-app-worker-1": 1, "w-03": 3} {
		got, err := partition.ParseIndex(id, 4)
		require.NoError(t, err, id)
		require.Equal(t, want, got, id)
	}
	for id, says := range map[string]string{
		"":                     "neither N nor NAME-N",
		"worker":               "neither N nor NAME-N",
		"worker-":              "neither N nor NAME-N",
		"worker-x7k42":         "StatefulSet",
		"worker2":              "neither N nor NAME-N",
		"-1":                   "neither N nor NAME-N",
		"+1":                   "neither N nor NAME-N",
		"worker-+1":            "neither N nor NAME-N",
		"1.5":                  "neither N nor NAME-N",
		"worker- 1":            "neither N nor NAME-N",
		"4":                    "not below the 4 workers",
		"worker-17":            "the first worker is 0",
		"99999999999999999999": "neither N nor NAME-N",
	} {
		_, err := partition.ParseIndex(id, 4)
		require.ErrorIs(t, err, partition.ErrWorkerID, id)
		require.ErrorContains(t, err, says, id)
	}
}

// Every partition is in exactly one worker's share, whatever the numbers are.
func TestSharesCoverEveryPartitionOnce(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2, 32, 1024} {
		for _, total := range []int{1, 2, 3, 4, 7, 8, 32, 33, 1500} {
			owner := map[int]int{}
			for index := range total {
				for _, p := range partition.Share(index, total, partitions) {
					_, twice := owner[p]
					require.False(t, twice, "partition %d of %d is in two shares of %d", p, partitions, total)
					owner[p] = index
					require.Equal(t, index, p%total)
				}
			}
			require.Len(t, owner, partitions)
		}
	}
	require.Empty(t, partition.Share(5, 6, 4), "a worker beyond the partitions has nothing")
	require.Len(t, partition.All(32), 32)
}

// Doubling the partitions splits each in two and moves nothing else, which is why a slot decides and not a hash modulo P.
func TestDoublingPartitionsOnlySplitsThem(t *testing.T) {
	t.Parallel()
	for slot := range int16(1024) {
		for total := 1; total < 1024; total *= 2 {
			p := partition.Of(slot, total)
			require.Equal(t, int(slot)%total, p)
			require.Contains(t, []int{p, p + total}, partition.Of(slot, 2*total))
		}
	}
}
