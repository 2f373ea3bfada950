package listener

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is when simulations begin.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// readPause is between two reads in a torrent.
const readPause = 3 * time.Millisecond

// course drives a pressure by a clock of its own, as one reader does.
type course struct {
	p    pressure
	now  time.Time
	head float64
}

// quiet lets time pass in quiet mode: perSecond commits of one event, each of which wakes the reader, which finds holders
// open appends. It returns after how long a torrent began, or -1.
func (c *course) quiet(lasts time.Duration, perSecond float64, holders func() int) time.Duration {
	step := time.Duration(float64(time.Second) / perSecond)
	for passed := time.Duration(0); passed < lasts; passed += step {
		c.now = c.now.Add(step)
		c.head++
		c.p.observe(int64(c.head), holders(), true, 1, c.now)
		if c.p.torrent() {
			return passed + step
		}
	}
	return -1
}

// torrent lets time pass in a torrent: the reader reads every few milliseconds, and counts the open appends every
// mostApart, while perSecond events are appended. It returns after how long it was calm, or -1.
func (c *course) torrent(lasts time.Duration, perSecond float64, holders func() int) time.Duration {
	if !c.p.inTorrent {
		c.p.enter(true, c.now)
	}
	counted := c.now
	for passed := time.Duration(0); passed < lasts; passed += readPause {
		c.now = c.now.Add(readPause)
		c.head += perSecond * readPause.Seconds()
		open := -1
		if c.now.Sub(counted) >= mostApart {
			open, counted = holders(), c.now
		}
		c.p.observe(int64(c.head), open, false, 1, c.now)
		if c.p.calm() {
			return passed + readPause
		}
	}
	return -1
}

func newCourse() *course {
	c := &course{now: epoch}
	c.p.observe(0, 0, false, 1, c.now)
	return c
}

func always(n int) func() int { return func() int { return n } }

// inTurn repeats a series of counts.
func inTurn(counts ...int) func() int {
	i := -1
	return func() int {
		i++
		return counts[i%len(counts)]
	}
}

// openAppends are the counts that appends at random times find: perSecond of them, each open for so long.
func openAppends(perSecond float64, open time.Duration) func() int {
	random := rand.New(rand.NewPCG(1, 2))
	var at float64
	var ends []float64
	return func() int {
		at += random.ExpFloat64() / perSecond
		ends = slices.DeleteFunc(ends, func(end float64) bool { return end < at })
		n := len(ends)
		ends = append(ends, at+open.Seconds())
		return n
	}
}

func TestPressure_ATorrentBegins(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		perSecond float64
		holders   func() int
		within    time.Duration
	}{
		"by speed, one writer":                     {600, always(1), time.Second},
		"by speed, nobody seen open":               {600, always(0), time.Second},
		"by speed, at once when it is high":        {5000, always(1), 100 * time.Millisecond},
		"by the crowd of 16 writers, slow commits": {126, always(15), 500 * time.Millisecond},
		"by the crowd of 64 writers, slow commits": {158, always(16), 500 * time.Millisecond},
		"by the crowd of 4 writers, slow commits":  {150, inTurn(3, 4, 3, 3), 500 * time.Millisecond},
		"by the crowd, very slow commits":          {30, always(15), time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := newCourse().quiet(10*time.Second, tt.perSecond, tt.holders)
			require.Positive(t, began, "a torrent has to begin")
			require.LessOrEqual(t, began, tt.within)
		})
	}
}

func TestPressure_NoTorrentBegins(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		perSecond float64
		holders   func() int
	}{
		"nothing but single events":                  {1, always(1)},
		"one writer, no break":                       {400, always(1)},
		"two writers, no break":                      {400, inTurn(1, 2)},
		"four writers, calm":                         {60, openAppends(60, 5*time.Millisecond)},
		"four writers, calm, a slow disk":            {60, openAppends(60, 10*time.Millisecond)},
		"an append left open, few events":            {5, always(1)},
		"two appends left open, few events":          {5, always(2)},
		"two appends left open, an event now and so": {15, always(2)},
		"many appends left open, an event a second":  {1, always(20)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Negative(t, newCourse().quiet(time.Minute, tt.perSecond, tt.holders), "when the torrent began")
		})
	}
}

// A handful of events at once is no queue, although two appends that a program has left open make each wake look crowded.
func TestPressure_AFewEventsBesideAppendsLeftOpenBeginNoTorrent(t *testing.T) {
	t.Parallel()
	c := newCourse()
	for range 100 {
		for range 5 {
			c.now = c.now.Add(2 * time.Millisecond)
			c.head++
			c.p.observe(int64(c.head), 2, true, 1, c.now)
			require.False(t, c.p.torrent())
		}
		c.now = c.now.Add(10 * time.Second)
	}
}

// Reads that no wake has led to say nothing about how appends queue at wakes.
func TestPressure_PollsAreNotCrowdedWakes(t *testing.T) {
	t.Parallel()
	c := newCourse()
	for range 1000 {
		c.now = c.now.Add(10 * time.Millisecond)
		c.head++
		c.p.observe(int64(c.head), 15, false, 1, c.now)
		require.False(t, c.p.torrent())
	}
}

func TestPressure_ATorrentEndsAboutASecondAfterItIsCalm(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after float64
		holders       func() int
	}{
		"nothing any more":             {2000, 0, always(0)},
		"from the highest speed":       {50_000, 0, always(0)},
		"a calm log":                   {600, 150, always(1)},
		"below the speed it began at":  {2000, 400, always(1)},
		"a calm log of two writers":    {600, 15, inTurn(0, 1, 2)},
		"appends left open, no events": {2000, 0, always(2)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCourse()
			require.Positive(t, c.quiet(time.Second, 5000, always(1)))
			require.Negative(t, c.torrent(10*time.Second, tt.before, always(4)), "when it ended, while it was on")
			ended := c.torrent(10*time.Second, tt.after, tt.holders)
			// The second counts as calm with as many events of the torrent in it as a calm second may have.
			require.GreaterOrEqual(t, ended, calmFor-time.Duration(calmLimit(torrentRate)/tt.before*float64(time.Second)))
			require.LessOrEqual(t, ended, calmFor+time.Second)
			c.p.enter(false, c.now)
			require.False(t, c.p.torrent(), "it does not begin again at once")
		})
	}
}

func TestPressure_ATorrentLasts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		perSecond float64
		holders   func() int
	}{
		"while it is fast":                     {600, always(1)},
		"near the speed that it began at":      {450, always(1)},
		"while appends queue, slow as they go": {126, always(15)},
		"while appends queue most of the time": {126, inTurn(4, 0, 3, 1)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCourse()
			require.Positive(t, c.quiet(time.Second, 5000, always(1)))
			require.Negative(t, c.torrent(time.Minute, tt.perSecond, tt.holders), "when it ended")
		})
	}
}

// A reader whose handler takes seconds for a batch looks seldom. That it has not looked does not make the log calm.
func TestPressure_ATorrentLastsWhileTheReaderIsBusy(t *testing.T) {
	t.Parallel()
	c := newCourse()
	c.p.enter(true, c.now)
	for range 10 {
		c.now = c.now.Add(3 * time.Second)
		c.head += 3 * 2000
		c.p.observe(int64(c.head), 4, true, 1, c.now)
		require.True(t, c.p.torrent())
		require.False(t, c.p.calm(), "at 2000 events/s, however long the next look takes")
	}
}

// Several readers look at the head at about the same time and tell of it in any order. A log of 150 events/s is calm,
// however many look at it.
func TestPressure_ManyReadersDoNotMakeTheLogFaster(t *testing.T) {
	t.Parallel()
	type look struct {
		told time.Time
		head int64
	}
	const perSecond, readers = 150, 16
	random := rand.New(rand.NewPCG(3, 4))
	var looks []look
	for range readers {
		at := epoch.Add(rand.N(readPause))
		for at.Before(epoch.Add(10 * time.Second)) {
			at = at.Add(readPause)
			head := int64(at.Sub(epoch).Seconds() * perSecond)
			at = at.Add(time.Duration(random.Int64N(int64(3 * time.Millisecond))))
			looks = append(looks, look{told: at, head: head})
		}
	}
	slices.SortFunc(looks, func(a, b look) int { return a.told.Compare(b.told) })
	var p pressure
	for _, l := range looks {
		p.observe(l.head, 1, true, 1, l.told)
		require.False(t, p.torrent(), "%v after the start, at %.0f events/s", l.told.Sub(epoch), p.rate)
	}
	require.True(t, p.calm(), "at %.0f events/s", p.rate)
}

// A log that starts over, which no reader survives for long, is not a fast one.
func TestPressure_AHeadThatGoesBackIsNoSpeed(t *testing.T) {
	t.Parallel()
	c := newCourse()
	c.head = 1e9
	c.now = c.now.Add(time.Hour)
	c.p.observe(int64(c.head), 0, false, 1, c.now)
	c.now = c.now.Add(time.Hour)
	c.p.observe(int64(c.head), 0, false, 1, c.now)
	c.head = 0
	require.Negative(t, c.quiet(10*time.Second, 100, always(1)))
	require.Positive(t, c.quiet(10*time.Second, 600, always(1)), "and its speed counts again")
}
