package listener

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// pending reports whether a wake is waiting, and takes it.
func pending(w *Wake) bool {
	select {
	case <-w.C:
		return true
	default:
		return false
	}
}

func TestWake_AnyNumberOfSignalsIsOneWake(t *testing.T) {
	t.Parallel()
	var h hub
	w, unsubscribe := h.subscribe()
	defer unsubscribe()
	require.False(t, pending(w), "nobody has signalled yet")
	for range 1000 {
		h.broadcast(push) // must not wait, although nobody looks
	}
	require.True(t, pending(w))
	require.False(t, pending(w), "a thousand signals are one wake")
	h.broadcast(push)
	require.True(t, pending(w), "a signal after the look is a wake of its own")
}

func TestWake_ReachesEveryReaderUntilItLeaves(t *testing.T) {
	t.Parallel()
	var h hub
	first, leaveFirst := h.subscribe()
	second, leaveSecond := h.subscribe()
	h.broadcast(push)
	require.True(t, pending(first), "a slow reader takes nothing away from another")
	require.True(t, pending(second))
	leaveFirst()
	h.broadcast(push)
	require.False(t, pending(first))
	require.True(t, pending(second))
	leaveSecond()
	require.Empty(t, h.wakes, "who has left is forgotten")
}

// TestWakeSaysWhatRaisedIt: of several that came as one, the append's notification is what counts.
func TestWakeSaysWhatRaisedIt(t *testing.T) {
	t.Parallel()
	var h hub
	wake, end := h.subscribe()
	defer end()
	h.broadcast(push)
	h.broadcast(probe)
	<-wake.C
	require.Equal(t, "push", wake.Source())
	h.broadcast(probe)
	<-wake.C
	require.Equal(t, "probe", wake.Source())
}

// What a wake carries counts only if nothing else has woken the reader: whoever has all of it has missed nothing.
func TestWakeSaysWhetherItCarriesEverything(t *testing.T) {
	t.Parallel()
	var h hub
	wake, end := h.subscribe()
	defer end()
	carries := func(all bool, want ...string) {
		t.Helper()
		payloads, is := wake.Carried()
		require.Equal(t, all, is)
		require.Equal(t, want, payloads)
	}
	carries(true)
	h.send(push, "a")
	h.send(push, "b")
	carries(true, "a", "b")
	require.True(t, pending(wake))
	carries(true)
	h.send(push, "a")
	h.broadcast(push)
	h.send(push, "b")
	carries(false)
	h.broadcast(probe)
	h.send(push, "a")
	carries(false)
	for range mostCarried {
		h.send(push, "a")
	}
	carries(true, slices.Repeat([]string{"a"}, mostCarried)...)
	for range mostCarried + 1 {
		h.send(push, "a")
	}
	carries(false)
	carries(true)
}
