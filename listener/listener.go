package listener

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgxlisten"
	"github.com/rs/zerolog"
)

// Mode is how the readers of a process learn of new events.
type Mode string

// The modes; the package comment says what each means.
const (
	Polling Mode = "polling"
	Quiet   Mode = "quiet"
	Torrent Mode = "torrent"
	Deaf    Mode = "deaf"
)

// Config is what a Listener needs. All fields but Log, Members and OnMode are required.
type Config struct {
	// ConnConfig opens the listening connection. It must lead to PostgreSQL itself: not through a transaction pooler.
	ConnConfig *pgx.ConnConfig

	// Pool sends the probes: another connection than the one that listens.
	Pool *pgxpool.Pool

	// Events and Sequence are the oids of the events table and of its sequence.
	Events, Sequence uint32

	// Instance names the process; it is part of the probe's channel.
	Instance string

	// Presence is the key of the session-level lock that is held while the connection lives. Others look for it.
	Presence int32

	// Members, if not nil, tells how many processes each wake comes to, this one included; below 1 counts as 1. It must not wait.
	Members func() int

	// OnMode, if not nil, is told of every change of the mode. It must not wait.
	OnMode func(Mode)

	Log zerolog.Logger
}

// State is what a reader must know before it sleeps.
type State struct {
	Mode Mode

	// Proven means that a probe has arrived lately, so polling may be slow.
	Proven bool

	// ArmedHead is the head of the log when S was taken, in mode Quiet. A reader may sleep once everything up to it is settled.
	ArmedHead int64

	// LastWake is when the last wake came; zero: none yet.
	LastWake time.Time

	// Present means that the presence lock is held.
	Present bool
}

// Listener owns the listening connection of a process. Its methods may be used by many goroutines.
type Listener struct {
	cfg      Config
	hub      hub
	pressure pressure
	prober   prober

	mu    sync.Mutex // protects the fields below
	state State
	conn  *pgx.Conn // to close it when it is deaf; nothing else may be done with it outside a handler
	full  bool      // the server's notification queue is filling up

	provenAt time.Time // when the last probe arrived on the present connection

	ticked atomic.Int64 // Unix nanoseconds

	reconnect *backoff.ExponentialBackOff // only used by connect, and reset by arming
}

// New makes a Listener; Run runs it.
func New(cfg Config) *Listener {
	l := &Listener{cfg: cfg, state: State{Mode: Polling}}
	const jitter = 0.2
	l.reconnect = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(25*time.Second), // 30 s with the jitter
		backoff.WithRandomizationFactor(jitter),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever; the default gives up after 15 minutes
	)
	l.reconnect.Reset()
	l.prober.init(l)
	l.tick()
	return l
}

func (l *Listener) tick() { l.ticked.Store(time.Now().UnixNano()) }

// Ticked is when the loop that watches over the listening connection last went round, which it does every 8 seconds or faster,
// whatever the database does.
func (l *Listener) Ticked() time.Time { return time.Unix(0, l.ticked.Load()) }

// Channel is the channel that appends to this table notify.
func (c Config) Channel() string { return fmt.Sprintf("rouse_%d", c.Events) }

// members is how many processes each wake comes to.
func (c Config) members() int {
	if c.Members == nil {
		return 1
	}
	return c.Members()
}

// lockKey is the oid of events as the signed integer that S is made of, as the push trigger computes it.
func (c Config) lockKey() int32 { return int32(c.Events) }

// Run listens until ctx is cancelled. It lives through every failure of the server and of the network.
func (l *Listener) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.prober.run(ctx) })
	h := &handler{l: l}
	pl := pgxlisten.Listener{
		Connect: l.connect,
		// The pauses are in connect. Zero would mean a minute here and a negative value no pause at all.
		ReconnectDelay: time.Millisecond,
		LogError: func(ctx context.Context, err error) {
			l.lost(ctx, err)
		},
	}
	pl.Handle(l.cfg.Channel(), h)
	pl.Handle(l.prober.channel(), h)
	_ = pl.Listen(ctx) // returns only when ctx is cancelled
	wg.Wait()
	l.forget()
	l.setMode(Polling)
}

// Subscribe returns a signal that is raised whenever there may be something to read, and a function that ends it.
func (l *Listener) Subscribe() (*Wake, func()) { return l.hub.subscribe() }

// State is how things stand.
func (l *Listener) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	s.Proven = time.Since(l.provenAt) < provenFor
	return s
}

// Observe tells the listener what a read has seen, from which it decides between quiet and torrent: the head of the log, how
// many appends were open, and whether a wake led to the read.
func (l *Listener) Observe(head int64, holders int, woken bool) {
	l.pressure.observe(head, holders, woken, l.cfg.members(), time.Now())
}

// connect opens the connection, again and again with growing pauses, until it is there or ctx is cancelled. The pauses begin
// anew once a connection was good enough to arm, so one that was lost is back at once, and one that is refused what it needs
// is not opened twenty times a second.
func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	for {
		if err := l.pause(ctx); err != nil {
			return nil, err
		}
		dialCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		conn, err := pgx.ConnectConfig(dialCtx, l.cfg.ConnConfig)
		cancel()
		if err == nil {
			l.mu.Lock()
			l.conn = conn
			l.mu.Unlock()
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.cfg.Log.Warn().Err(err).Msg("cannot connect to listen, polling meanwhile")
	}
}

// pause waits as long as the backoff says.
func (l *Listener) pause(ctx context.Context) error {
	l.mu.Lock()
	wait := l.reconnect.NextBackOff()
	l.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lost is told by pgxlisten that the connection failed, or that a handler did.
func (l *Listener) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.forget()
	if l.State().Mode != Deaf {
		l.cfg.Log.Warn().Err(err).Msg("the listening connection is lost, polling until it is back")
		l.setMode(Polling)
	}
}

// forget drops what was true of a connection that is gone.
func (l *Listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.provenAt = nil, time.Time{}
	l.state.Present, l.state.ArmedHead = false, 0
}

// setMode changes the mode, tells whoever wants to know, and wakes the readers so that they look at the new one.
func (l *Listener) setMode(mode Mode) {
	l.mu.Lock()
	changed := l.state.Mode != mode
	l.state.Mode = mode
	if mode != Quiet {
		l.state.ArmedHead = 0
	}
	l.mu.Unlock()
	if changed {
		l.cfg.Log.Info().Str("mode", string(mode)).Msg("push mode changed")
		if l.cfg.OnMode != nil {
			l.cfg.OnMode(mode)
		}
	}
	l.hub.broadcast(probe)
}

func (l *Listener) proved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.provenAt = time.Now()
}

// armed is told by the handler that it holds S, and of the head after that.
func (l *Listener) armed(head int64) {
	l.mu.Lock()
	l.state.ArmedHead = head
	l.reconnect.Reset()
	l.mu.Unlock()
	l.setMode(Quiet)
}

// connection is the present one, nil if there is none.
func (l *Listener) connection() *pgx.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// deaf closes a connection that delivers nothing. Closing the network connection is the one thing that may be done to it
// from here; pgxlisten notices and connects again.
func (l *Listener) deaf(conn *pgx.Conn) {
	l.mu.Lock()
	l.provenAt = time.Time{}
	l.mu.Unlock()
	l.setMode(Deaf)
	_ = conn.PgConn().Conn().Close()
}

func (l *Listener) setFull(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
}

func (l *Listener) isFull() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}
