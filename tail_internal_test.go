package rouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many processes there are, their reads in a torrent are bounded together, and those with nothing to do make way.
func TestReadsOfAllMembersInATorrentAreBounded(t *testing.T) {
	t.Parallel()
	const took = 300 * time.Microsecond
	perSecond := func(members int, idle bool) float64 {
		rest := torrentRest(took, members, idle)
		return float64(members) / (rest + took).Seconds()
	}
	for _, members := range []int{1, 2, 4, 16, 64, 1000} {
		require.LessOrEqual(t, perSecond(members, false), 1001.0, "%d members", members)
		require.LessOrEqual(t, perSecond(members, true), 375.0*float64(min(members, 2)), "%d idle members", members)
	}
	require.Equal(t, restShare*took, torrentRest(took, 1, false), "a few are not slowed down")
	require.Equal(t, restShare*took, torrentRest(took, 2, false))
	require.Equal(t, maxRest, torrentRest(time.Second, 1, true), "a read that takes long is no reason to rest for ever")
	require.Equal(t, restShare*took, torrentRest(took, 0, false), "nobody has looked yet")
}
