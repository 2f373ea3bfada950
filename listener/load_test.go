package listener

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load is a simulated log and the reader that looks at it, by a clock of its own.
//
// Each writer thinks, appends one event and commits. A commit takes its time on the disk. In quiet mode every append
// notifies, so one commit waits for the other, and each wakes the reader. In a torrent commits do not wait for each other,
// and the reader looks every few milliseconds.
type load struct {
	writers  int
	think    time.Duration // on average; zero: the next append begins at once
	commit   time.Duration
	leftOpen int // appends that a program has left open, besides

	p       *pressure
	random  *rand.Rand
	now     time.Time
	turns   []turn    // one for each writer
	free    time.Time // when the disk is done with the last commit of quiet mode
	look    time.Time // when the reader looks next in a torrent
	counted time.Time // when it counted the open appends
	head    int64
	torrent bool

	inTorrent time.Duration
	torrents  int
	commits   int
}

// turn is when a writer appends or, if it has, when its commit is done.
type turn struct {
	at   time.Time
	open bool
}

func (l *load) start(torrent bool) {
	l.p, l.random = &pressure{}, rand.New(rand.NewPCG(1, 2))
	l.now, l.look, l.torrent = epoch, epoch, torrent
	for range l.writers {
		l.turns = append(l.turns, turn{at: l.now.Add(l.pause())})
	}
	if torrent { // there was a burst before
		l.head = 10_000
		l.p.observe(0, 0, false, 1, l.now.Add(-time.Second))
		l.p.observe(l.head, 16, true, 1, l.now)
		l.p.enter(true, l.now)
	}
}

func (l *load) pause() time.Duration {
	return time.Duration(l.random.ExpFloat64() * float64(l.think))
}

// run lets time pass.
func (l *load) run(lasts time.Duration) {
	for end := l.now.Add(lasts); l.now.Before(end); {
		next := &l.turns[0]
		for i := range l.turns {
			if l.turns[i].at.Before(next.at) {
				next = &l.turns[i]
			}
		}
		if l.torrent && l.look.Before(next.at) {
			l.pass(l.look)
			l.observe()
			l.look = l.now.Add(readPause)
			continue
		}
		l.pass(next.at)
		l.step(next)
	}
}

func (l *load) pass(to time.Time) {
	if l.torrent {
		l.inTorrent += to.Sub(l.now)
	}
	l.now = to
}

// step appends, or ends a commit.
func (l *load) step(w *turn) {
	if !w.open {
		l.head++
		w.open = true
		w.at = l.now.Add(l.commit)
		if !l.torrent {
			if l.free.Before(l.now) {
				l.free = l.now
			}
			l.free = l.free.Add(l.commit)
			w.at = l.free
		}
		return
	}
	l.commits++
	w.open = false
	w.at = l.now.Add(l.pause())
	if !l.torrent {
		l.observe()
	}
}

// observe is one look of the reader, after which the mode may change.
func (l *load) observe() {
	open := l.leftOpen
	for _, w := range l.turns {
		if w.open {
			open++
		}
	}
	if l.torrent && l.now.Sub(l.counted) < mostApart {
		open = -1 // most reads of a torrent do not count them
	} else {
		l.counted = l.now
	}
	l.p.observe(l.head, open, !l.torrent, 1, l.now)
	switch {
	case l.torrent && l.p.calm():
		l.torrent = false
		l.p.enter(false, l.now)
	case !l.torrent && l.p.torrent():
		l.torrent, l.look = true, l.now
		l.p.enter(true, l.now)
		l.torrents++
	}
}

// One process that sleeps beside many writers would make each commit wait for the one before. It does not for long.
func TestPressure_WritersThatQueueAreLetGo(t *testing.T) {
	t.Parallel()
	tests := map[string]*load{
		"16 writers, slow commits":     {writers: 16, commit: 6 * time.Millisecond},
		"64 writers, slow commits":     {writers: 64, commit: 6 * time.Millisecond},
		"4 writers, slow commits":      {writers: 4, commit: 6 * time.Millisecond},
		"4 writers, very slow commits": {writers: 4, commit: 20 * time.Millisecond},
		"64 writers that think":        {writers: 64, think: 200 * time.Millisecond, commit: 6 * time.Millisecond},
		"one fast writer":              {writers: 1, commit: 500 * time.Microsecond},
	}
	for name, l := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const lasts = 15 * time.Second
			l.start(false)
			l.run(lasts)
			require.Equal(t, 1, l.torrents, "it changes once and stays")
			require.Greater(t, l.inTorrent, lasts-time.Second)
			free := float64(l.writers) / (l.think + l.commit).Seconds() * lasts.Seconds()
			require.Greater(t, float64(l.commits), 0.9*free, "commits, of those that would be possible")
		})
	}
}

// Nothing is gained by reading every few milliseconds from a log that is calm.
func TestPressure_ACalmLogIsSleptOn(t *testing.T) {
	t.Parallel()
	tests := map[string]*load{
		"one writer, no break, slow commits":        {writers: 1, commit: 6 * time.Millisecond},
		"4 writers, 60/s":                           {writers: 4, think: 66 * time.Millisecond, commit: time.Millisecond},
		"4 writers, 60/s, slow commits":             {writers: 4, think: 61 * time.Millisecond, commit: 5 * time.Millisecond},
		"4 writers, 60/s, very slow commits":        {writers: 4, think: 56 * time.Millisecond, commit: 10 * time.Millisecond},
		"100 writers, 60/s, slow commits":           {writers: 100, think: 1660 * time.Millisecond, commit: 5 * time.Millisecond},
		"few events, two appends left open":         {writers: 4, think: time.Second, commit: 5 * time.Millisecond, leftOpen: 2},
		"few events, one append left open, slow":    {writers: 4, think: 400 * time.Millisecond, commit: 20 * time.Millisecond, leftOpen: 1},
		"two events a second, 20 appends left open": {writers: 2, think: time.Second, commit: 5 * time.Millisecond, leftOpen: 20},
	}
	for name, l := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, torrent := range []bool{false, true} {
				l := *l
				l.start(torrent)
				l.run(5 * time.Second)
				l.inTorrent = 0
				const lasts = 3 * time.Minute
				l.run(lasts)
				t.Logf("after a torrent: %v; %d torrents, %v in them, %d commits", torrent, l.torrents, l.inTorrent, l.commits)
				require.Less(t, l.inTorrent, lasts/100)
			}
		})
	}
}
