package catchup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many processes there are, their reads without a wake are bounded together, and those with nothing to do make way.
func TestReadsOfAllMembersAreBounded(t *testing.T) {
	t.Parallel()
	const took = 500 * time.Microsecond
	perSecond := func(members int, idle bool) float64 {
		rest := readInterval(members, idle)
		return float64(members) / (rest + took).Seconds()
	}
	for _, members := range []int{1, 2, 4, 16, 64, 250} {
		require.LessOrEqual(t, perSecond(members, false), 1000.0, "%d members", members)
		require.LessOrEqual(t, perSecond(members, true), max(128.0, 2*float64(members)), "%d idle members", members)
	}
	require.Zero(t, readInterval(0, true), "nobody has looked yet")
	require.Equal(t, maxApart, readInterval(100_000, true), "checkpoints have to move on within two seconds")
}
