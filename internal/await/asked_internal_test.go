package await

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A worker that was not asked tells nobody, and one that was says from which position on it does.
func TestOnlyWhoWasAskedReplies(t *testing.T) {
	t.Parallel()
	var nobody *Asked
	require.False(t, nobody.Replying())
	a := NewAsked(1, "p")
	a.Settle(10)
	require.False(t, a.Replying())
	a.Hear(ask{key: Key("q"), to: 5}.String())
	a.Hear("no ask")
	a.Settle(10)
	require.False(t, a.Replying(), "somebody has asked for another projection")
	a.Hear(ask{key: Key("p"), from: everything, to: 20}.String())
	require.False(t, a.Replying(), "not in the middle of something")
	a.Settle(10)
	require.True(t, a.Replying())
	a.Settle(15)
	r, err := parseReply(a.Reply(15, of(3), 4, false))
	require.NoError(t, err)
	require.Equal(t, reply{key: Key("p"), since: 10, to: 15, total: 4, partitions: of(3)}, r)
	a.Forget()
	require.False(t, a.Replying(), "others may have had the partitions since")
}

func TestAsksAreDueOnceTheirPositionIsHandled(t *testing.T) {
	t.Parallel()
	a := NewAsked(1, "p")
	for _, one := range []ask{{key: Key("p"), from: 12, to: 12}, {key: Key("p"), from: everything, to: 20}, {key: Key("p"), from: 9, to: 9}} {
		a.Hear(one.String())
	}
	a.Settle(10)
	any, save := a.Due(10)
	require.True(t, any)
	require.True(t, save, "9 was handled before the worker began to reply, so the checkpoints have to show it")
	any, _ = a.Due(11)
	require.False(t, any)
	any, save = a.Due(12)
	require.True(t, any)
	require.False(t, save)
	for n := range int64(2 * asksKept) {
		a.Hear(ask{key: Key("p"), from: everything, to: 1000 + n}.String())
	}
	require.Len(t, a.wants, asksKept, "the oldest are forgotten")
	any, _ = a.Due(1 << 40)
	require.True(t, any)
}
