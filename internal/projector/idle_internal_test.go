package projector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The more dead rows of checkpoints there are, the later a partition without events is saved again, and never later than a minute.
func TestIdlePartitionsAreSavedLessOftenOverDeadRows(t *testing.T) {
	t.Parallel()
	i := newIdle()
	require.Equal(t, 10*time.Second, i.after)
	for rows, want := range map[int64]time.Duration{0: 10 * time.Second, 19_999: 10 * time.Second, 60_000: 30 * time.Second, 1 << 60: time.Minute} {
		i.noteDead(rows)
		require.Equal(t, want, i.after, "%d dead rows", rows)
	}
}

// All idle checkpoints follow when nothing has come for a second; where there are very many of them, the next time is put off by what they
// cost, so that rare events do not have all of them written behind each. A barrier does not wait for that.
func TestManyIdlePartitionsAreSavedLessOften(t *testing.T) {
	t.Parallel()
	i := newIdle()
	require.Equal(t, pauseAfter, i.pauses())
	i.noteSaved(32)
	require.Equal(t, pauseAfter, i.pauses())
	i.noteSaved(1023)
	require.Greater(t, i.pauses(), 10*pauseAfter)
	require.LessOrEqual(t, i.pauses(), 16*pauseAfter)
	i.soon()
	require.Equal(t, pauseAfter, i.pauses())
}
