package rouse

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/listener"
)

// tail reads the end of the log for all feeds of this process in one incarnation of the database. The first feed that enters
// starts it, and the last one that leaves ends it and waits for it. One that has failed is given to nobody any more.
type tail struct {
	*catchup.Tail
	w     *Worker
	log   catchup.Log
	token catchup.Token

	feeds  int // protected by tails.mu
	cancel context.CancelFunc
	ended  chan struct{}

	reader   *catchup.Reader
	wake     *listener.Wake // nil without a listener
	schedule *catchup.Schedule
	calm     bool          // the last read found nothing open
	took     time.Duration // the last full read

	pulse  pulse
	nudges chan struct{} // look now; buffered to 1, one is enough for all who ask
	push   pushCheck
}

// tails hands out the tail of a process.
type tails struct {
	mu      sync.Mutex // protects the field below, and tail.feeds
	current *tail

	used atomic.Int64 // when a handler was last given events, in Unix nanoseconds
}

// idle tells whether the process has found nothing of its own lately.
func (t *tails) idle() bool { return time.Since(time.Unix(0, t.used.Load())) > idleAfter }

// enter gives a feed the tail for what it reads. The feed must leave it.
func (w *Worker) enter(log catchup.Log, token catchup.Token) *tail {
	w.tails.mu.Lock()
	defer w.tails.mu.Unlock()
	t := w.tails.current
	if t == nil || t.log != log || t.token != token || t.Failed() {
		ctx, cancel := context.WithCancel(context.Background()) // it outlives every single feed
		t = &tail{
			Tail: catchup.NewTail(w.cfg.BatchSize), w: w, log: log, token: token, cancel: cancel, ended: make(chan struct{}),
			reader: catchup.NewReader(w.pool, log, token, catchup.SlotSet{}, 0), schedule: catchup.NewSchedule(),
			nudges: make(chan struct{}, 1),
		}
		w.tails.current = t
		go func() {
			defer close(t.ended)
			t.run(ctx)
		}()
	}
	t.feeds++
	return t
}

// leave ends the tail if nobody is left.
func (t *tail) leave() {
	t.w.tails.mu.Lock()
	t.feeds--
	last := t.feeds == 0
	if last && t.w.tails.current == t {
		t.w.tails.current = nil
	}
	t.w.tails.mu.Unlock()
	if last {
		t.cancel()
		<-t.ended
	}
}

// run reads until ctx is cancelled or a read fails: until there is nothing more, and then again at the next wake.
func (t *tail) run(ctx context.Context) {
	if t.w.listener != nil {
		wake, unsubscribe := t.w.listener.Subscribe()
		defer unsubscribe()
		t.wake = wake
	}
	woken := false
	source := ""
	for ctx.Err() == nil {
		after, slots, wanted := t.Want()
		if !wanted {
			t.pulse.yielding()
			select {
			case <-t.Moved():
			case <-ctx.Done():
			}
			continue
		}
		if t.w.reading != nil {
			t.w.reading()
		}
		t.pulse.reading()
		t.reader.Turn(after, slots)
		b, err := t.next(ctx, source, woken)
		if err != nil {
			t.Fail(err)
			return
		}
		t.Add(b, slots)
		if t.w.listener != nil && t.push.read(b, source, t.w.listener.State()) {
			t.w.cfg.Observer.pushMissed()
		}
		if len(b.Events) > 0 {
			t.schedule.Reset()
		}
		if b.More {
			t.yield(ctx, b)
			source = ""
			continue
		}
		t.pulse.waiting(b.To)
		source, woken = t.wait(ctx, b)
		if source != "" {
			t.w.cfg.Observer.woke(source)
		}
	}
}

// next reads on. After a wake in a calm log it glances first: what was just appended is handed out before the full look, which
// follows at once. Where nothing woke it, it peeks whether there is anything to read.
func (t *tail) next(ctx context.Context, source string, woken bool) (catchup.Batch, error) {
	if source == WakePoll && t.calm && !t.torrent() {
		if b, ok, err := t.reader.Peek(ctx); ok || err != nil {
			return b, err
		}
	}
	if woken && t.calm && t.w.control.Members() <= glanceMembers && t.w.listener.State().Mode == listener.Quiet {
		t.calm = false
		b, ok, err := t.reader.Glance(ctx)
		if ok || err != nil {
			return b, err
		}
	}
	began := time.Now()
	b, err := t.reader.Next(ctx, t.w.cfg.BatchSize)
	if err != nil {
		return b, err
	}
	t.took = time.Since(began)
	t.w.observe(b, woken)
	t.calm = !b.More && b.To >= b.Head
	return b, nil
}

// glanceMembers is up to how many members glance: each wake comes to all of them, and who glances reads twice.
const glanceMembers = 4

// glancePause is what a full look waits after a glance, so as not to compete with the handler for what the glance has found.
const glancePause = 2 * time.Millisecond

// yield lets the handlers go first after a glance, unless there is another wake.
func (t *tail) yield(ctx context.Context, b catchup.Batch) {
	if !b.Glanced {
		return
	}
	timer := time.NewTimer(glancePause)
	defer timer.Stop()
	select {
	case <-t.wake.C:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// observe takes note of what a read has seen besides events.
func (w *Worker) observe(b catchup.Batch, woken bool) {
	if b.Blocked {
		w.cfg.Observer.blocked()
	}
	if w.listener != nil {
		w.listener.Observe(b.Head, b.Holders, woken)
	}
	if w.noPush.Swap(!b.Push) == b.Push && !b.Push {
		w.log.Warn().Msg("the trigger rouse_append_after on events is missing or not enabled: nothing wakes the worker, it polls" +
			" (run: alter table events enable always trigger rouse_append_after)")
	}
}

// In a torrent there is something to read at any time, and every read takes processor time from the writers. So a reader rests
// for restShare times as long as its last read took, between minRest and maxRest: it takes a ninth of one processor where there is
// enough of it, and makes way where writers use it all, because then a read takes longer. With 3 and 20 ms, 64 writers on two
// processors kept 0.82 of their rate.
const (
	restShare = 8
	minRest   = 3 * time.Millisecond
	maxRest   = 30 * time.Millisecond
)

// Where nothing wakes them, all members together read at most once per memberRest, so that many processes cost the server no more
// than one or two do: 64 of them read 1000 times a second, and not 21,000 times as they would every 3 ms. Those that have found
// nothing of their own for idleAfter make way for the others: 64 of them read 128 times a second. Even they are never further
// apart than maxApart, because half a second later every checkpoint has to have moved on.
const (
	memberRest = time.Millisecond
	idleRest   = 8 * memberRest
	idleAfter  = time.Second
	maxApart   = 500 * time.Millisecond
)

// apart is how far apart two reads of one of so many members are at least, where nothing wakes it. idle: it has found nothing of
// its own lately.
func apart(members int, idle bool) time.Duration {
	share := memberRest
	if idle {
		share = idleRest
	}
	return min(time.Duration(members)*share, maxApart)
}

// torrentRest is how long a reader rests whose last read took so long.
func torrentRest(took time.Duration) time.Duration { return min(max(restShare*took, minRest), maxRest) }

// wait returns at the next wake, or when it is time to look without one; it tells which, and nothing if ctx is cancelled,
// and whether that was the listener's.
func (t *tail) wait(ctx context.Context, b catchup.Batch) (source string, woken bool) {
	timer := time.NewTimer(t.pause(b))
	defer timer.Stop()
	var wakes <-chan struct{}
	if t.wake != nil {
		wakes = t.wake.C
	}
	select {
	case <-wakes:
		if source := t.wake.Source(); !t.torrent() {
			return source, true
		}
		return t.wait(ctx, b) // a torrent has begun, in which it is not woken
	case <-t.nudges:
		return WakeProbe, false
	case <-timer.C:
		return WakePoll, false
	case <-ctx.Done():
		return "", false
	}
}

func (t *tail) torrent() bool {
	return t.w.listener != nil && t.w.listener.State().Mode == listener.Torrent
}

// pause is how long to wait for a wake, which does not come in a torrent. With many members it is longer, but for a poll behind a
// proven push, which is long anyway.
func (t *tail) pause(b catchup.Batch) time.Duration {
	var state listener.State
	if t.w.listener != nil {
		state = t.w.listener.State()
	}
	least := apart(t.w.control.Members(), t.w.tails.idle())
	least += time.Duration((rand.Float64() - 0.5) * float64(least) / 2) // so that those who were told together do not go on together
	if state.Mode == listener.Torrent {
		return max(torrentRest(t.took), least)
	}
	// It is short while an open append holds back what is behind it, which nobody will notify if it rolls back, and until
	// everything that was open when the listener armed is settled, because that may not notify at all. Only after that is a
	// reader asleep.
	armed := state.Mode == listener.Quiet
	if b.Blocked || armed && max(b.Settled, b.To) < state.ArmedHead {
		return max(t.schedule.Settle(time.Now()), least)
	}
	return max(t.schedule.Poll(armed && state.Proven && b.Push), least)
}

// pushGrace is how long a notification may take before it counts as missed. Polls behind a proven push are at least as far apart.
const pushGrace = catchup.MinProvenPause

// pushCheck watches that the push tells of what it should. It may overlook a push that is missing, when another one comes in
// its place; it does not report one that is not.
type pushCheck struct {
	owed    time.Time // since when there is something read that a push is still due for; zero: nothing
	blocked bool      // the last read met a hole, and nothing notifies when one that made it rolls back
}

// read takes note of a read, of what led to it, and of how the listener stands, and tells whether a push is missing.
func (p *pushCheck) read(b catchup.Batch, source string, state listener.State) (missed bool) {
	sleeping := state.Mode == listener.Quiet && state.Proven && b.Push
	switch {
	case !sleeping || source == WakePush:
		p.owed = time.Time{}
	case !p.owed.IsZero() && time.Since(p.owed) >= pushGrace:
		missed, p.owed = true, time.Time{}
	}
	last := len(b.Events) - 1
	untold := source == WakePoll || source == WakeProbe
	if sleeping && untold && !p.blocked && last >= 0 && b.Events[last].GlobalPosition > state.ArmedHead && p.owed.IsZero() {
		p.owed = time.Now()
	}
	p.blocked = b.Blocked
	return missed
}
