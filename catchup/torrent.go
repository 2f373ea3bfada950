package catchup

import (
	"context"
	"math/rand/v2"
	"time"
)

// In a torrent there is an event to read at nearly any time, and no append notifies. A loop reads without the look at the locks,
// which costs more than all the rest of a read and stops every append while it goes over the table of locks. What follows
// without a hole is handed out. A hole is mostly filled by the next read, and else the locks are looked at.
const (
	// holeFor is how long committed events wait behind a hole until the locks are looked at for its sake.
	holeFor = time.Millisecond

	// countEvery is how often the locks are looked at anyway: for the number of open appends, which ends a torrent, and for the
	// triggers.
	countEvery = 100 * time.Millisecond
)

// A loop rests for followRest between two reads, times the number of members, for as long as reads are fast. On a server whose
// processors the writers use to the full a read takes longer, and takes from them what it needs. So a loop rests restShare times
// as long as a read takes beyond fastRead, up to maxRest, and each read brings more. With 64 writers on two processors it reads
// some 65 times a second.
const (
	followRest = 300 * time.Microsecond
	restShare  = 8
	maxRest    = 12 * time.Millisecond

	// fastRead is how long a read may take that is not slowed down by others. Where the network is long it is twice what the
	// shortest read takes.
	fastRead = 400 * time.Microsecond

	// recentReads is how many of the last reads are in the average, and forgetReads after how many the shortest is forgotten.
	recentReads = 10
	forgetReads = 1000
)

// torrent is how a loop reads in a torrent. It is for the loop's goroutine.
type torrent struct {
	looked time.Time // when the locks were last looked at

	took    time.Duration // how long a read takes, smoothed
	fastest time.Duration // the shortest lately

	// The hole that committed events wait behind.
	hole  int64     // its position; 0: there is none
	since time.Time // when it was first seen
	next  time.Time // when the locks are to be looked at for its sake
	known bool      // they were: an append has it open
}

// readInTorrent reads on in a torrent.
func (l *loop) readInTorrent(ctx context.Context) (Batch, error) {
	t := &l.torrent
	began := time.Now()
	if l.source.cfg.Members() > glanceMembers || began.Sub(t.looked) >= countEvery { // the server leaves out what is for many others
		return l.look(ctx)
	}
	b, ok, err := l.reader.Follow(ctx, l.source.cfg.BatchSize, t.known && t.hole == l.reader.after+1)
	if err != nil {
		return b, err
	}
	if !ok {
		return l.look(ctx)
	}
	t.note(b, began)
	l.source.follow(b)
	l.calm = false
	if t.lasts(b, time.Now()) {
		return l.look(ctx)
	}
	return b, nil
}

// lasts reports whether the hole at which b has found nothing to hand out is to have the locks looked at.
func (t *torrent) lasts(b Batch, now time.Time) bool {
	return b.Blocked && b.To == b.From && !now.Before(t.next)
}

// look reads on with a look at the locks.
func (l *loop) look(ctx context.Context) (Batch, error) {
	began := time.Now()
	b, err := l.full(ctx, false)
	if err == nil {
		l.torrent.noteLook(b, began)
	}
	return b, err
}

// noteLook takes in a read with a look at the locks that began then.
func (t *torrent) noteLook(b Batch, began time.Time) {
	t.note(b, began)
	if b.Holders < 0 {
		return // it was below the horizon, where a read has no need to
	}
	t.looked = time.Now()
	if t.known = b.Blocked; t.known {
		t.next = t.looked.Add(min(max(t.looked.Sub(t.since)/10, holeFor), maxSettlePause))
	}
}

// note takes in a read that began then.
func (t *torrent) note(b Batch, began time.Time) {
	now := time.Now()
	t.noteTook(now.Sub(began))
	switch {
	case !b.Blocked:
		t.hole, t.known = 0, false
	case t.hole != b.To+1:
		t.hole, t.since, t.next, t.known = b.To+1, now, now.Add(holeFor), false
	}
}

// noteTook takes in how long a read has taken.
func (t *torrent) noteTook(took time.Duration) {
	if t.fastest == 0 {
		t.fastest = took
	}
	t.took += (took - t.took) / recentReads
	t.fastest = min(t.fastest+t.fastest/forgetReads, took)
}

// pause returns how long a loop of one of so many members waits for its next read. With many of them, and where it has found no
// event of its own lately, it is longer.
func (t *torrent) pause(members int, idle bool) time.Duration {
	rest := t.rest(members)
	if idle || members > glanceMembers {
		rest = max(rest, readInterval(members, idle))
	}
	return vary(rest)
}

// rest returns how long a loop of one of so many members rests.
func (t *torrent) rest(members int) time.Duration {
	beyond := t.took - max(fastRead, 2*t.fastest)
	return max(min(restShare*beyond, maxRest), followRest*time.Duration(max(members, 1)))
}

// vary returns d, more or less by a quarter at most, so that loops that were told together do not go on together.
func vary(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*float64(d)/2)
}
