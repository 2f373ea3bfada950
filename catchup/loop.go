package catchup

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/internal/pulse"
	"github.com/rouse-es/rouse/listener"
)

const (
	// glanceMembers is the number of members up to which a loop glances: each wake comes to all of them, and a loop
	// that glances reads twice.
	glanceMembers = 4

	// glancePause is the pause between a glance that came to the head and the full read after it, so as not to compete with the
	// handlers of the events that the glance has found.
	glancePause = 2 * time.Millisecond

	// fullLookEvery is how old a full read may be for a glance to do without one behind it. Whatever the glance has done without
	// follows within that time, and the states of the triggers are in no doubt for longer.
	fullLookEvery = time.Second
)

// Where no push wakes them, all members together read at most once per memberRest, so that many processes cost the
// server no more than one or two do: 64 of them read 1000 times a second, and not 21,000 times as they would every 3
// ms. Those that have found no event of their own for idleAfter make way for the others: 64 of them read 128 times a
// second. Even they never read less often than every maxApart, because half a second later every checkpoint has to have
// moved on.
const (
	memberRest = time.Millisecond
	idleRest   = 8 * memberRest
	idleAfter  = time.Second
	maxApart   = 500 * time.Millisecond
)

// idlePolls is how many times IdleInterval is between two polls behind a proven push.
const idlePolls = 10

// loop reads the end of the log into a buffer, for all feeds of a Source in one incarnation of the database. Its
// goroutine is started by Source.enter; run uses the fields without a note on that goroutine alone.
type loop struct {
	source *Source
	log    Log
	token  Token
	buffer *buffer

	feeds  int                // the feeds that have entered and not left; protected by source.mu
	cancel context.CancelFunc // called by the last feed to leave
	ended  chan struct{}      // closed by the goroutine of run; the last feed waits for it

	reader   *Reader
	wake     *listener.Wake // nil without a listener
	schedule *Schedule
	timer    *time.Timer // of wait, between two of whose calls it is stopped; nil before the first
	calm     bool        // the last read came to the head: nothing was open
	torrent  torrent     // how it reads in one
	looked   time.Time   // when the last full read began
	owes     bool        // a glance has done without a full read since
	counted  time.Time   // when a read last began that tells how many appends are open
	carried  time.Time   // when a push last carried what came next

	pulse  pulse.Pulse
	nudges chan struct{} // sent by Source.Check: read now; buffered to 1, one is enough for all calls
	push   pushCheck
}

// newLoop returns a loop that has read nothing. cancel ends the context of its run.
func newLoop(s *Source, log Log, token Token, cancel context.CancelFunc) *loop {
	reader := NewReader(s.cfg.Pool, log, token, SlotSet{}, 0)
	reader.patience, reader.seal.log = &s.patienceAtEnd, s.cfg.Log
	reader.SetBytes(s.cfg.BatchBytes / 2) // of which the buffer holds two
	return &loop{
		source: s, log: log, token: token, buffer: newBuffer(s.cfg.BatchSize, s.cfg.BatchBytes), cancel: cancel, ended: make(chan struct{}),
		reader: reader, schedule: NewSchedule(), nudges: make(chan struct{}, 1),
	}
}

// run reads until ctx is cancelled or a read fails: until there is nothing more, and then again at the next wake. A
// failed read fails the buffer, and through it all feeds.
func (l *loop) run(ctx context.Context) {
	if l.source.cfg.Listener != nil {
		wake, unsubscribe := l.source.cfg.Listener.Subscribe()
		defer unsubscribe()
		l.wake = wake
	}
	hooks := l.source.cfg.Hooks
	woken := false
	cause := ""
	for ctx.Err() == nil {
		after, slots, wanted := l.buffer.want()
		if !wanted {
			l.pulse.Yielding()
			select {
			case <-l.buffer.moved:
			case <-ctx.Done():
			}
			continue
		}
		hooks.Reading()
		l.pulse.Reading(l.reader.limit())
		l.reader.Turn(after, slots)
		b, err := l.next(ctx, cause, woken)
		if err != nil {
			l.buffer.fail(err)
			return
		}
		l.buffer.add(b, slots)
		if l.source.cfg.Listener != nil && l.push.noteRead(b, cause, l.source.state()) {
			hooks.PushMissed()
		}
		if len(b.Events) > 0 || b.Blocked {
			hooks.Stirred()
		}
		if len(b.Events) > 0 {
			l.schedule.Reset()
		}
		if b.More {
			l.yield(ctx, b)
			cause = ""
			continue
		}
		l.pulse.Waiting(b.To)
		cause, woken = l.wait(ctx, b)
		if cause == WakePush {
			hooks.Stirred()
		}
		if cause != "" {
			hooks.Woke(cause)
		}
	}
}

// next reads on. After a wake in a calm log it takes what the push has carried, or glances first: the new events are handed out before
// the full read, which follows at once, or later where the glance has shown all that matters now. Where no push woke it, it peeks
// whether there is an event to read.
func (l *loop) next(ctx context.Context, cause string, woken bool) (Batch, error) {
	payloads, all := l.payloads()
	mode := l.source.state().Mode
	if mode == listener.Torrent {
		return l.readInTorrent(ctx)
	}
	if cause == WakePoll && l.calm {
		if b, ok, err := l.reader.Peek(ctx); ok || err != nil {
			return b, err
		}
	}
	if woken && l.calm && all && mode == listener.Quiet {
		if b, ok := l.take(ctx, payloads); ok {
			return b, nil
		}
	}
	if woken && l.calm && l.source.cfg.Members() <= glanceMembers && mode == listener.Quiet {
		b, ok, err := l.glance(ctx)
		if l.calm = ok && l.suffices(b); l.calm {
			b.More = false
			l.source.observe(b, woken)
		}
		if ok && (l.calm || b.To > b.From) || err != nil {
			return b, err
		}
	}
	return l.full(ctx, woken)
}

// glance glances, and looks at the triggers as well where the last look at them is old by half: where glances follow each other, none
// then owes a full read.
func (l *loop) glance(ctx context.Context) (Batch, bool, error) {
	began := time.Now()
	l.counted = began
	triggers := began.Sub(l.looked) > fullLookEvery/2
	b, ok, err := l.reader.Glance(ctx, triggers)
	if triggers && ok && b.AtHead && b.Push {
		l.looked, l.owes = began, false
	} else if ok {
		l.owes = true
	}
	return b, ok, err
}

// full reads on with a look at the locks.
func (l *loop) full(ctx context.Context, woken bool) (Batch, error) {
	l.looked = time.Now()
	l.counted = l.looked
	b, err := l.reader.Next(ctx, l.source.cfg.BatchSize)
	if err != nil {
		return b, err
	}
	l.owes = false
	l.source.observe(b, woken)
	l.calm = !b.More && b.To >= b.Head
	return b, nil
}

// suffices reports whether the loop may sleep behind a glance as it may behind a full read. What that would show besides is
// known: there is an event at every position that was given out, so nothing is open that a reader could miss, and no append
// has a position that it has not committed. Positions that are given out from then on are above the head at which the listener
// armed, if that is not above the glance, which pause looks at; their appends find S held, and notify. The states of the
// triggers are as old as the last look at them, by a full read or by a glance.
func (l *loop) suffices(b Batch) bool {
	return b.AtHead && b.Push && time.Since(l.looked) < fullLookEvery
}

// yield waits after a glance that has shown all there was, so that the handlers go first, unless there is another wake.
func (l *loop) yield(ctx context.Context, b Batch) {
	if !b.Glanced || b.To < b.Head {
		return
	}
	timer := time.NewTimer(glancePause)
	defer timer.Stop()
	select {
	case <-l.wake.C:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wait returns at the next wake, or when the pause without one is over. It returns the cause, "" if ctx is cancelled,
// and whether the listener woke it.
func (l *loop) wait(ctx context.Context, b Batch) (cause string, woken bool) {
	if l.timer == nil {
		l.timer = time.NewTimer(l.pause(b))
	} else {
		l.timer.Reset(l.pause(b))
	}
	defer l.timer.Stop()
	var wakes <-chan struct{}
	if l.wake != nil {
		wakes = l.wake.C
	}
	select {
	case <-wakes:
		if cause := l.wake.Source(); l.source.state().Mode != listener.Torrent {
			return cause, true
		}
		return l.wait(ctx, b) // a torrent has begun, in which it is not woken
	case <-l.nudges:
		return WakeProbe, false
	case <-l.timer.C:
		if l.owes {
			return "", false // to the full read that belongs to an earlier wake
		}
		return WakePoll, false
	case <-ctx.Done():
		return "", false
	}
}

// pause returns how long to wait for a wake, which does not come in a torrent. With many members it is longer, except
// for a poll behind a proven push, which is long anyway.
func (l *loop) pause(b Batch) time.Duration {
	state := l.source.state()
	members, idle := l.source.cfg.Members(), l.source.idle()
	if state.Mode == listener.Torrent {
		return l.torrent.pause(members, idle)
	}
	least := vary(readInterval(members, idle))
	// The pause is short in two cases: while an open append holds back the events behind it, because no notification
	// comes if it rolls back; and until everything that was open when the listener armed is settled, because that may
	// not notify at all. Only after that is the loop asleep.
	armed := state.Mode == listener.Quiet
	if b.Blocked || armed && max(b.Settled, b.To) < state.ArmedHead {
		return max(l.schedule.WhileBlocked(time.Now()), least)
	}
	proven := armed && state.Proven && b.Push
	pause := l.schedule.Poll(proven)
	if proven {
		pause = max(pause, idlePolls*l.source.cfg.IdleInterval)
	}
	if l.owes {
		pause = min(pause, time.Until(l.looked.Add(fullLookEvery)))
	}
	return max(pause, least)
}

// readInterval returns the minimum interval between two reads of one member where no push wakes it, given the number of
// members and whether this one has found no event of its own lately.
func readInterval(members int, idle bool) time.Duration {
	share := memberRest
	if idle {
		share = idleRest
	}
	return min(time.Duration(members)*share, maxApart)
}
