package projector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// After a change of the membership a session looks soon, then ever less often, and then hardly any more: what the control reports needs
// no look, and a worker of hundreds of schemas has a session for each.
func TestShares_LooksEverLessOftenAfterAChange(t *testing.T) {
	t.Parallel()
	moved := time.Now()
	s := shares{balanced: true, moved: moved, seen: moved.Add(minLookPause)}
	var looks []int
	for tick := 1; tick <= 300; tick++ {
		now := moved.Add(time.Duration(tick) * sweepInterval)
		if s.membershipQuiet(true, now) {
			continue
		}
		looks, s.seen = append(looks, tick), now
	}
	require.Equal(t, []int{1, 2, 4, 8}, looks)
	require.False(t, s.membershipQuiet(true, s.seen.Add(quietInterval)), "it looks all the same once in a while")
	require.False(t, s.membershipQuiet(false, s.seen.Add(sweepInterval)), "who is not told has to ask")
	s.balanced = false
	require.False(t, s.membershipQuiet(true, s.seen.Add(sweepInterval)))
}
