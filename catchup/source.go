package catchup

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/listener"
)

// SourceConfig configures a Source. Listener, Members, Hooks and Log may be left out.
type SourceConfig struct {
	// Pool is used to read the log. Each Feed takes one connection while it reads by itself, and the Source takes one.
	Pool db.DB

	// BatchSize bounds the events of one Batch, at least 1, as long as no more wait than that.
	BatchSize int

	// MostBatch bounds them while more wait. 0, or less than BatchSize: BatchSize.
	MostBatch int

	// BatchBytes bounds the bytes of one Batch, beside an event that is larger. All Feeds that read by themselves share
	// it, and so do all others, but each may have 1 MiB. 0 means DefaultBytes.
	BatchBytes int

	// Listener wakes the Source; the caller runs it. nil: the Source polls.
	Listener *listener.Listener

	// Members returns the number of processes that read the log at this moment, this one included. It must not wait.
	// nil counts as one.
	Members func() int

	// IdleInterval above 0 means that somebody else looks at the end of the log once in that time and calls Check, so the Source
	// polls ten times less often behind a push that is proven.
	IdleInterval time.Duration

	Hooks SourceHooks
	Log   zerolog.Logger
}

// SourceHooks are functions that a Source calls when something happens, on its own goroutines and those of its Feeds.
// Each may be nil. They must not wait.
type SourceHooks struct {
	Woke       func(source string) // a sleep has ended: WakePush, WakePoll or WakeProbe
	PushMissed func()              // a poll found events that a proven push had not announced
	Blocked    func()              // a read met committed events behind a hole that an open append may still fill
	Reading    func()              // a read of the end of the log is about to begin
	Stirred    func()              // there may be something to handle: an append has woken the Source, or a read has found events
}

// The causes that end the sleep of a Source.
const (
	WakePush  = "push"  // the notification of an append
	WakePoll  = "poll"  // the pause without a notification was over; also every read in a torrent
	WakeProbe = "probe" // the listener has changed its mode, or Check asked whether the reader lives
)

// Source reads the log for all Feeds of a process, the end of it once for all of them. Its methods may be called by
// many goroutines.
//
// One goroutine reads the end of the log while at least one Feed runs, in one incarnation of the database. The first
// Feed that enters starts it; the last Feed that leaves ends it and waits for it. After a failed read, no further Feed
// enters that goroutine's loop.
type Source struct {
	cfg SourceConfig

	noPush atomic.Bool  // the push trigger was off at the last full read
	used   atomic.Int64 // when NoteUse was last called, in Unix nanoseconds

	alone, joined share                 // of the feeds that read by themselves, and of the others
	patience      patience              // of the feeds that read by themselves
	patienceAtEnd patience              // of the loop
	state         func() listener.State // of the listener; the zero value where there is none

	// mu protects current, and feeds of every loop.
	mu      sync.Mutex
	current *loop // the loop that new Feeds enter; nil: there is none
}

// NewSource returns a Source that reads nothing before a Feed runs.
func NewSource(cfg SourceConfig) *Source {
	if cfg.Members == nil {
		cfg.Members = func() int { return 1 }
	}
	for _, hook := range []*func(){&cfg.Hooks.PushMissed, &cfg.Hooks.Blocked, &cfg.Hooks.Reading, &cfg.Hooks.Stirred} {
		if *hook == nil {
			*hook = func() {}
		}
	}
	if cfg.Hooks.Woke == nil {
		cfg.Hooks.Woke = func(string) {}
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = DefaultBytes
	}
	state := func() listener.State { return listener.State{} }
	if cfg.Listener != nil {
		state = cfg.Listener.State
	}
	return &Source{cfg: cfg, state: state, alone: share{bytes: cfg.BatchBytes}, joined: share{bytes: cfg.BatchBytes},
		patienceAtEnd: patience{few: true}}
}

// NoteUse notes that events of the log were for this process. A process that finds no event of its own for a while
// reads less often where no push wakes it, and so makes way for others.
func (s *Source) NoteUse() { s.used.Store(time.Now().UnixNano()) }

// idle reports whether the process has found no event of its own for idleAfter.
func (s *Source) idle() bool { return time.Since(time.Unix(0, s.used.Load())) > idleAfter }

// Check compares the position up to which the end of the log has been read with head, a position at which an event is
// visible. It wakes a reader that sleeps although there is an event to read. stuck reports that such a reader has not
// read within 5 seconds, which a later call finds, or that a read is overdue. readTo is the lower of head and the
// position read, beyond which no Feed can have received an event.
func (s *Source) Check(head int64) (readTo int64, stuck bool) {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l == nil {
		return head, false
	}
	behind, tooLong := l.pulse.Asleep(head)
	if behind {
		select {
		case l.nudges <- struct{}{}:
		default:
		}
	}
	return min(head, l.buffer.readTo()), tooLong || l.pulse.Late()
}

// enter returns the loop that reads one incarnation of a log, and starts it if there is none. The feed must call leave.
func (s *Source) enter(log Log, token Token) *loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.current
	if l == nil || l.log != log || l.token != token || l.buffer.failed() {
		ctx, cancel := context.WithCancel(context.Background()) // the loop outlives every single feed
		l = newLoop(s, log, token, cancel)
		s.current = l
		// Owned by the feeds that enter the loop; the last to leave waits for l.ended.
		go func() {
			defer close(l.ended)
			l.run(ctx)
		}()
	}
	l.feeds++
	return l
}

// leave ends the loop after its last feed, and waits for its goroutine.
func (s *Source) leave(l *loop) {
	s.mu.Lock()
	l.feeds--
	last := l.feeds == 0
	if last && s.current == l {
		s.current = nil
	}
	s.mu.Unlock()
	if last {
		l.cancel()
		<-l.ended
	}
}

// observe passes the findings of a full read beside its events to the hooks and the listener. Feeds and the loop call
// it.
func (s *Source) observe(b Batch, woken bool) {
	if b.Blocked {
		s.cfg.Hooks.Blocked()
	}
	if s.cfg.Listener != nil {
		s.cfg.Listener.Observe(b.Head, b.Holders, woken)
	}
	if s.noPush.Swap(!b.Push) == b.Push && !b.Push {
		s.cfg.Log.Warn().Msg("the trigger rouse_append_after on events is missing or not enabled: nothing wakes the worker, it polls" +
			" (run: alter table events enable always trigger rouse_append_after)")
	}
}

// follow passes on the head that a read without a look at the locks has seen.
func (s *Source) follow(b Batch) {
	if s.cfg.Listener != nil {
		s.cfg.Listener.Observe(b.Head, b.Holders, false)
	}
}
