package catchup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A few processes read as often together as one does, and all of them make way where reads take long, which a long network does
// not make them do.
func TestReadsInATorrentMakeWay(t *testing.T) {
	t.Parallel()
	after := func(reads ...time.Duration) *torrent {
		u := &torrent{}
		for range 100 {
			for _, took := range reads {
				u.noteTook(took)
			}
		}
		return u
	}
	const ms = time.Millisecond
	fast := after(ms/5, ms/5, ms/5, ms/2)
	require.Equal(t, followRest, fast.rest(1))
	require.Equal(t, followRest, fast.rest(0), "nobody has looked yet")
	require.Equal(t, glanceMembers*followRest, fast.rest(glanceMembers))
	require.Equal(t, followRest, after(20*ms, 21*ms).rest(1), "a long network")
	require.Equal(t, maxRest, after(ms/5, 4*ms).rest(1), "a server that has much to do")
	slower := after(ms/5, ms).rest(1)
	require.Greater(t, slower, followRest)
	require.Less(t, slower, maxRest)
}

// Most holes are filled within a moment, and are worth no look at the locks. One that stays has it soon, and not again by every
// read where an append has it open.
func TestALookAtTheLocksIsForAHoleThatLasts(t *testing.T) {
	t.Parallel()
	var u torrent
	began := time.Now()
	at := func(position int64) Batch { return Batch{From: position, To: position, Blocked: true} }
	u.note(at(5), began)
	require.False(t, u.lasts(at(5), time.Now().Add(-holeFor/2)), "it was seen for the first time")
	require.True(t, u.lasts(at(5), time.Now().Add(holeFor)))
	require.False(t, u.lasts(Batch{From: 5, To: 7, Blocked: true}, time.Now().Add(holeFor)), "it was filled, and the next one is another")
	require.False(t, u.lasts(Batch{From: 5, To: 5}, time.Now().Add(holeFor)), "nothing waits behind it")

	u.since = u.since.Add(-time.Second)
	u.noteLook(at(5), began)
	require.True(t, u.known)
	require.False(t, u.lasts(at(5), u.looked.Add(50*time.Millisecond)), "an append has it open")
	require.True(t, u.lasts(at(5), u.looked.Add(time.Second)))
	u.note(at(9), began)
	require.False(t, u.known, "of another one nothing is known")
	u.noteLook(Batch{From: 9, To: 12}, began)
	require.False(t, u.known)
}
