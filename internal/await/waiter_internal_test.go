package await

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// of returns a set of partitions.
func of(partitions ...int) (p Partitions) {
	for _, n := range partitions {
		p.Add(n)
	}
	return p
}

// slotWaiter waits for an event at position 10 in slot 5, which is partition 1 of 4.
func slotWaiter() *waiter {
	return &waiter{target: Target{Projection: "p", Slot: 5, Positions: []int64{10}, Last: 10}, done: make(chan error, 1)}
}

// behind is what a look finds that is not there yet.
func behind() found {
	return found{exists: true, partitions: 4, last: 10, behind: []int32{1}, hear: true}
}

func TestAReplyDuringALookIsNotLost(t *testing.T) {
	t.Parallel()
	w := slotWaiter()
	w.looking = true
	require.False(t, w.hear(reply{since: 1, to: 10, total: 4, partitions: of(1)}), "what was there before the look is not known")
	over, err := w.saw(behind()) // in a snapshot from before the reply
	require.NoError(t, err)
	require.True(t, over, "who looks first and listens afterwards waits for ever here")
}

func TestAReplyIsBelievedOnlyIfNothingCanHaveEscaped(t *testing.T) {
	t.Parallel()
	plain := reply{since: 1, to: 10, total: 4, partitions: of(1)}
	for name, c := range map[string]struct {
		change     func(w *waiter, r *reply)
		over, must bool
	}{
		"as it should be":                      {func(*waiter, *reply) {}, true, false},
		"no look was made":                     {func(w *waiter, _ *reply) { w.looked = false }, false, false},
		"of another partition":                 {func(_ *waiter, r *reply) { r.partitions = of(0, 2, 3) }, false, false},
		"not that far":                         {func(_ *waiter, r *reply) { r.to = 9 }, false, false},
		"the worker began to reply behind it":  {func(_ *waiter, r *reply) { r.since = 10 }, false, true},
		"something was set aside":              {func(_ *waiter, r *reply) { r.look = true }, false, true},
		"it is set aside":                      {func(w *waiter, _ *reply) { w.aside = true }, false, false},
		"the projection is to start over":      {func(w *waiter, _ *reply) { w.resets = true }, false, false},
		"there are other partitions meanwhile": {func(_ *waiter, r *reply) { r.total, r.partitions = 8, of(5) }, false, true},
	} {
		w, r := slotWaiter(), plain
		over, err := w.saw(behind())
		require.NoError(t, err)
		require.False(t, over)
		c.change(w, &r)
		require.Equal(t, c.over, w.hear(r), name)
		require.Equal(t, c.must, w.must, name)
	}
}

// A look that began before the connection could hear is repeated, and what it found is believed only where it ends the wait.
func TestALookFromBeforeTheConnectionHeardIsRepeated(t *testing.T) {
	t.Parallel()
	w := slotWaiter()
	w.looking = true
	w.again()
	over, err := w.saw(behind())
	require.NoError(t, err)
	require.False(t, over)
	require.True(t, w.must)
	require.False(t, w.hear(reply{since: 1, to: 10, total: 4, partitions: of(1)}), "a reply that told of something set aside may have been missed")
}

func TestWhoWaitsForAllPartitionsHearsOfEach(t *testing.T) {
	t.Parallel()
	w := &waiter{target: Target{Projection: "p", Slot: AllSlots, Last: Head}}
	over, err := w.saw(found{exists: true, partitions: 4, last: 10, behind: []int32{0, 1, 3}, hear: true})
	require.NoError(t, err)
	require.False(t, over)
	require.False(t, w.hear(reply{since: 99, to: 10, look: true, total: 4, partitions: of(0, 1)}), "what is set aside does not matter")
	require.True(t, w.hear(reply{since: 99, to: 11, total: 4, partitions: of(2, 3)}))
}

// What is remembered spares the look only where the workers were replying when the events were appended.
func TestMemoryTellsOnlyOfWhatItHasHeard(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := &memory{asked: now, clean: 5}
	require.False(t, m.tells(slotWaiter(), now), "no worker has replied")
	m.hear(reply{since: 7, to: 9, total: 4, partitions: of(0, 1)})
	w := slotWaiter()
	require.True(t, m.tells(w, now))
	require.False(t, m.prime(w, now))
	require.True(t, w.hear(reply{since: 7, to: 10, total: 4, partitions: of(1)}))
	m.hear(reply{since: 7, to: 10, bare: true, total: 4, partitions: of(1)})
	require.False(t, m.prime(slotWaiter(), now), "a bare reply may be older than a reset")
	m.hear(reply{since: 7, to: 10, total: 4, partitions: of(1)})
	require.True(t, m.prime(slotWaiter(), now))
	m.forget()
	require.False(t, m.prime(slotWaiter(), now), "somebody may have reset it")
	require.False(t, m.tells(slotWaiter(), now.Add(askedFor)), "the workers may have ceased to reply")
	m.hear(reply{since: 7, to: 10, look: true, total: 4, partitions: of(1)})
	require.False(t, m.tells(slotWaiter(), now), "it may be what was set aside")
}

func TestAsksAndRepliesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for range 200 {
		var p Partitions
		for range rand.IntN(5) {
			p.Add(rand.IntN(1024))
		}
		r := reply{key: Key("ü p"), since: rand.Int64(), to: rand.Int64(), look: rand.IntN(2) == 1, total: 1024, partitions: p}
		got, err := parseReply(r.String())
		require.NoError(t, err)
		require.Equal(t, r, got)
		require.Less(t, len(r.String()), 7999)
		a := ask{key: Key(""), from: rand.Int64(), to: rand.Int64(), save: rand.IntN(2) == 1}
		asked, err := parseAsk(a.String())
		require.NoError(t, err)
		require.Equal(t, a, asked)
	}
	for _, text := range []string{"", "? 0123", "x", "0123456789abcdef 1 2 0 4", "0123456789abcdef 1 2 0 4 g", "0123456789abcdef 1 2 0 -4 1", "0123456789abcdef 1 2 0 2048 1",
		"0123456789abcdef 1 2 0 4 1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1"} {
		_, err := parseReply(text)
		require.Error(t, err, text)
	}
}
