package partition_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/partition"
)

// staticID is what an id of a static worker looks like.
var staticID = regexp.MustCompile(`^(?s:[^-].*-|-?)?[0-9]+$`)

// A worker's number is within bounds and is the one that its id ends in, or its id is refused in words that name it.
func FuzzParseIndex(f *testing.F) {
	for _, seed := range []string{"0", "3", "4", "web-0", "web-x7k42", "-1", "", "-", "web-", "+1", "web-+1", "web--1", "a-b-2", "007", "1_0", "0x1",
		"99999999999999999999", " 1", "1 ", "a\n-1", "٣"} {
		f.Add(seed, 4)
	}
	f.Add("web-1", 0)
	f.Add("0", -1)
	f.Fuzz(func(t *testing.T, id string, total int) {
		index, err := partition.ParseIndex(id, total)
		if err != nil {
			require.ErrorIs(t, err, partition.ErrWorkerID)
			require.Zero(t, index)
			return
		}
		require.GreaterOrEqual(t, index, 0)
		require.Less(t, index, total)
		require.Regexp(t, staticID, id)
		n, err := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
		require.NoError(t, err)
		require.Equal(t, n, index)
	})
}

// The shares of static workers are all partitions, each once, however many workers there are; and an event is in the share of
// exactly one of them.
func FuzzShares(f *testing.F) {
	f.Add(uint16(1), uint8(5), uint16(0))
	f.Add(uint16(4), uint8(10), uint16(1023))
	f.Add(uint16(2000), uint8(0), uint16(512))
	f.Fuzz(func(t *testing.T, workers uint16, bits uint8, slot uint16) {
		total, partitions := int(workers), 1<<(bits%11)
		if total == 0 {
			return
		}
		of := partition.Of(int16(slot%1024), partitions)
		owners, seen := 0, make([]int, partitions)
		for worker := range total {
			for _, p := range partition.Share(worker, total, partitions) {
				seen[p]++
				if p == of {
					owners++
				}
			}
		}
		require.Equal(t, 1, owners)
		for p, n := range seen {
			require.Equal(t, 1, n, "partition %d of %d", p, partitions)
		}
	})
}
