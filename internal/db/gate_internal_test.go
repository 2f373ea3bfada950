package db

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// No more than its places are inside at once, as long as nobody stays.
func TestGate_HasSoManyPlaces(t *testing.T) {
	t.Parallel()
	g := NewGate(2)
	g.lent = time.Hour
	ended, end := context.WithCancel(t.Context())
	end()
	enter := func() *Pass {
		pass, err := g.Enter(ended)
		require.NoError(t, err, "a free place asks nobody to wait")
		return pass
	}
	full := func() {
		_, err := g.Enter(ended)
		require.ErrorIs(t, err, context.Canceled)
	}
	first, second := enter(), enter()
	full()
	first.Leave()
	third := enter()
	full()
	for _, pass := range []*Pass{second, third} {
		pass.Leave()
	}
	require.Len(t, g.free, 2)
	var none *Gate
	pass, err := none.Enter(ended)
	require.NoError(t, err)
	pass.Leave()
}

// Those who stay inside keep nobody out for good, and what they leave late is no place more.
func TestGate_GivesThePlaceOfWhoStaysToAnother(t *testing.T) {
	t.Parallel()
	g := NewGate(2)
	g.lent = time.Millisecond
	var inside []*Pass
	for range 6 {
		pass, err := g.Enter(t.Context())
		require.NoError(t, err)
		inside = append(inside, pass)
	}
	for len(g.free) < 2 {
		select { // for the timers of the last
		case place := <-g.free:
			g.free <- place
		case <-t.Context().Done():
			t.Fatal("the places are not given back")
		}
	}
	for _, pass := range inside {
		pass.Leave()
	}
	require.Len(t, g.free, 2)
}

// However many stay inside, whoever comes is let through in the end.
func TestGate_LetsThroughWhoHasWaited(t *testing.T) {
	t.Parallel()
	g := NewGate(1)
	g.lent, g.waits = time.Hour, time.Millisecond
	inside, err := g.Enter(t.Context())
	require.NoError(t, err)
	for range 3 {
		pass, err := g.Enter(t.Context())
		require.NoError(t, err)
		pass.Leave()
		require.Empty(t, g.free, "who had no place gives none back")
	}
	inside.Leave()
	require.Len(t, g.free, 1)
}
