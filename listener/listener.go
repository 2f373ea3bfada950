package listener

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/db"
)

// Mode is the way in which the readers of a log learn of new events.
type Mode string

// The modes; the package comment explains each.
const (
	Polling Mode = "polling"
	Quiet   Mode = "quiet"
	Torrent Mode = "torrent"
	Deaf    Mode = "deaf"
)

// Config configures a Listener. Events and Sequence are required, and either Connection or all of Dialer, Pool, Instance and
// Presence.
type Config struct {
	// Connection is what the listener listens through, with those of other logs; the caller runs it. nil: the Listener has one
	// of its own, which the next five fields configure. With a Connection they are not used.
	Connection *Connection

	// Dialer, Pool, Instance, Presence and ProbeInterval are those of ConnectionConfig.
	Dialer        *db.Dialer
	Pool          *pgxpool.Pool
	Instance      string
	Presence      int32
	ProbeInterval time.Duration

	// Events and Sequence are the oids of the events table and of its sequence.
	Events, Sequence uint32

	// Members returns the number of processes that each wake comes to, this one included; below 1 counts as 1. It must
	// not wait. nil counts as one.
	Members func() int

	// OnMode, if not nil, is called with every new mode, on the connection's goroutines and on that of Run. It must not wait.
	OnMode func(Mode)

	// OnMembers, if not nil, is called when members have come or gone or an operator has asked for something, which
	// MembersChannel tells, and once after each connect, because what was sent before is lost. It is called on the
	// connection's goroutine and must not wait. nil: nobody listens to that channel.
	OnMembers func()

	// OnAsk, if not nil, is called with what comes from AsksChannel: what a waiter waits for until it is handled. It is called on the
	// connection's goroutine and must not wait. nil: nobody listens to that channel.
	OnAsk func(payload string)

	// AsksChannel is the channel of OnAsk, which is this log's alone.
	AsksChannel string

	Log zerolog.Logger
}

// Channel returns the name of the channel that appends to this table notify.
func (c Config) Channel() string { return fmt.Sprintf("rouse_%d", c.Events) }

// MembersChannel returns the name of the channel that tells, without a payload, that members of this log have come or gone or
// that an operator has asked for something.
func (c Config) MembersChannel() string { return c.Channel() + "_members" }

// members returns the number of processes that each wake comes to.
func (c Config) members() int {
	if c.Members == nil {
		return 1
	}
	return c.Members()
}

// lockKey returns the oid of events as the signed integer that S is made of, as the push trigger computes it.
func (c Config) lockKey() int32 { return int32(c.Events) }

// State is the part of a Listener's state that a reader needs before it sleeps.
type State struct {
	Mode Mode

	// Proven means that a notification from another connection has arrived within the last 16 seconds, or within the time of
	// two probes where ProbeInterval is set, so polling may be slow.
	Proven bool

	// ArmedHead is the head of the log when S was taken, in mode Quiet; 0 in the others. A reader may sleep once
	// everything up to it is settled.
	ArmedHead int64

	// LastWake is when the last wake came; zero: none yet.
	LastWake time.Time

	// Present means that the presence lock is held.
	Present bool

	// PID is the server's process that holds the presence lock for the listening connection; 0: none does.
	PID uint32
}

// Listener listens for one log. Its methods may be called by many goroutines.
type Listener struct {
	cfg      Config
	c        *Connection
	own      bool // nobody else runs c
	hub      hub
	pressure pressure

	// calling is held while the connection tells of something, and so while callbacks run. It protects entered, for which mu
	// is enough to read.
	calling sync.Mutex

	mu      sync.Mutex // protects the fields below
	entered bool       // the connection knows of the listener
	state   State      // but for what is the connection's
}

// New returns a Listener, which Run runs.
func New(cfg Config) *Listener {
	l := &Listener{cfg: cfg, c: cfg.Connection, state: State{Mode: Polling}}
	if l.c == nil {
		l.own = true
		l.c = NewConnection(ConnectionConfig{
			Dialer: cfg.Dialer, Pool: cfg.Pool, Instance: cfg.Instance, Presence: cfg.Presence,
			ProbeInterval: cfg.ProbeInterval, Log: cfg.Log,
		})
	}
	return l
}

// Ticked is that of the connection.
func (l *Listener) Ticked() time.Time { return l.c.Ticked() }

// Run listens until ctx is cancelled. It survives every failure of the server and of the network. It runs the connection if
// the Listener has one of its own, and waits for it. After it has returned there are no more calls. Call it once.
func (l *Listener) Run(ctx context.Context) {
	l.c.enter(l)
	if l.own {
		l.c.Run(ctx)
	} else {
		<-ctx.Done()
	}
	l.c.leave(l)
	l.change(Polling)
}

// Subscribe returns a signal that is raised whenever there may be events to read, and a function that ends the
// subscription.
func (l *Listener) Subscribe() (*Wake, func()) { return l.hub.subscribe() }

// State returns the state at this moment.
func (l *Listener) State() State {
	l.mu.Lock()
	s, entered := l.state, l.entered
	l.mu.Unlock()
	if entered {
		l.c.addTo(&s)
	}
	return s
}

// Observe takes in the result of a read, from which the listener decides between quiet and torrent: the head of the
// log; the number of open appends, below 0 if the read has not counted them; and whether a wake led to the read.
func (l *Listener) Observe(head int64, holders int, woken bool) {
	l.pressure.observe(head, holders, woken, l.cfg.members(), time.Now())
}

// setEntered notes whether the connection knows of the listener. Once it does not, there are no more calls.
func (l *Listener) setEntered(entered bool) {
	l.calling.Lock()
	defer l.calling.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entered = entered
}

// told calls what, with which the connection tells of something, unless the listener has left it.
func (l *Listener) told(what func()) {
	l.calling.Lock()
	defer l.calling.Unlock()
	if l.entered {
		what()
	}
}

// setMode changes the mode. The connection calls it.
func (l *Listener) setMode(mode Mode) { l.told(func() { l.change(mode) }) }

// change changes the mode, calls OnMode if it was another one, and wakes the readers so that they look at it.
func (l *Listener) change(mode Mode) {
	l.mu.Lock()
	changed := l.state.Mode != mode
	l.state.Mode = mode
	if mode != Quiet {
		l.state.ArmedHead = 0
	}
	l.mu.Unlock()
	if changed {
		l.pressure.enter(mode == Torrent, time.Now())
		l.cfg.Log.Info().Str("mode", string(mode)).Msg("push mode changed")
		if l.cfg.OnMode != nil {
			l.cfg.OnMode(mode)
		}
	}
	l.hub.broadcast(probe)
}

// lost takes in that the connection is gone.
func (l *Listener) lost() {
	l.told(func() {
		if l.mode() != Deaf {
			l.change(Polling)
		}
	})
}

// mode returns the mode.
func (l *Listener) mode() Mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Mode
}

// armed takes in that the connection holds S, and the head that it read after that.
func (l *Listener) armed(head int64) {
	l.told(func() {
		l.mu.Lock()
		l.state.ArmedHead = head
		l.mu.Unlock()
		l.change(Quiet)
	})
}

// woken takes in a wake, and what it carries.
func (l *Listener) woken(payload string) {
	l.told(func() {
		now := time.Now()
		l.mu.Lock()
		l.state.LastWake = now
		l.mu.Unlock()
		l.pressure.woken(l.cfg.members(), now)
		l.hub.send(push, payload)
	})
}

// asked takes in what came from AsksChannel.
func (l *Listener) asked(payload string) { l.told(func() { l.cfg.OnAsk(payload) }) }

// membersChanged takes in that the members channel was notified, or may have been.
func (l *Listener) membersChanged() {
	if l.cfg.OnMembers != nil {
		l.told(l.cfg.OnMembers)
	}
}
