package catchup_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// grows says that pauses stay within bounds, begin near the lower one, come near the upper one, and never end.
func grows(t *testing.T, least, most time.Duration, next func() time.Duration) {
	t.Helper()
	first := next()
	require.GreaterOrEqual(t, first, least)
	require.LessOrEqual(t, first, 2*least, "the first pause is short")
	last := first
	var longest time.Duration
	different := map[time.Duration]bool{}
	for i := range 2000 {
		last = next()
		<-time.After(last) // in the test's own time, which soon passes the quarter of an hour after which backoffs give up by default
		require.GreaterOrEqual(t, last, least, "pause %d", i)
		require.LessOrEqual(t, last, most, "pause %d", i)
		longest = max(longest, last)
		different[last] = true
	}
	require.Greater(t, longest, most*9/10)
	require.Greater(t, last, most/2, "it has grown and stays so")
	require.Greater(t, len(different), 1000, "the pauses vary, so that workers do not all come at once")
}

func TestPollsBehindAProvenPush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := catchup.NewSchedule()
		grows(t, time.Second, 30*time.Second, func() time.Duration { return s.Poll(true) })
		s.Reset()
		require.LessOrEqual(t, s.Poll(true), 2*time.Second, "an event begins anew")
	})
}

func TestPollsWithoutAProvenPush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := catchup.NewSchedule()
		grows(t, 10*time.Millisecond, time.Second, func() time.Duration { return s.Poll(false) })
		s.Reset()
		require.LessOrEqual(t, s.Poll(false), 20*time.Millisecond)
	})
}

// A push that is lost makes the very next pause short, however long they had become, and one that is proven begins with a second.
func TestLosingTheProofMakesPollsShort(t *testing.T) {
	t.Parallel()
	s := catchup.NewSchedule()
	for range 10 {
		s.Poll(true)
	}
	require.LessOrEqual(t, s.Poll(false), time.Second)
	require.LessOrEqual(t, s.Poll(true), 2*time.Second)
}

func TestSettlePausesAreATenthOfTheWait(t *testing.T) {
	t.Parallel()
	s := catchup.NewSchedule()
	began := time.Now()
	require.Equal(t, time.Millisecond, s.WhileBlocked(began), "at first, look again at once")
	for _, step := range []struct{ waited, pause time.Duration }{
		{5 * time.Millisecond, time.Millisecond},
		{100 * time.Millisecond, 10 * time.Millisecond},
		{2 * time.Second, 200 * time.Millisecond},
		{10 * time.Second, time.Second},
		{5 * time.Hour, time.Second},
	} {
		require.Equal(t, step.pause, s.WhileBlocked(began.Add(step.waited)))
	}
	s.Poll(true) // the hole is gone
	again := began.Add(6 * time.Hour)
	require.Equal(t, time.Millisecond, s.WhileBlocked(again), "the next hole is a new one")
	s.Reset()
	require.Equal(t, time.Millisecond, s.WhileBlocked(again.Add(time.Hour)))
}
