package listener

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgxlisten"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/db"
)

// ConnectionConfig configures a Connection. All fields but ProbeInterval and Log are required.
type ConnectionConfig struct {
	// Dialer opens the listening connection. It must lead to PostgreSQL itself: not through a transaction pooler.
	Dialer *db.Dialer

	// Pool sends the probes, so each comes from another connection than the one that listens. It must lead to the same
	// database; the schema does not matter.
	Pool *pgxpool.Pool

	// Instance identifies the process; it is part of the probe's channel.
	Instance string

	// Presence is the key of the session-level lock that is held while the connection lives. Other workers look for it.
	Presence int32

	// ProbeInterval is the time between two probes at rest, for databases that sleep when nobody asks them anything. A
	// connection that delivers nothing is noticed that much later. 0 means 7 s, which with the time that a probe has is
	// within ten.
	ProbeInterval time.Duration

	Log zerolog.Logger
}

// Connection is a listening connection, which any number of Listeners of logs in one database share. They come and go while it
// runs. Its methods may be called by many goroutines.
type Connection struct {
	cfg    ConnectionConfig
	prober prober

	mu   sync.Mutex             // protects the fields below
	logs map[*Listener]struct{} // those that have entered and not left
	conn *pgx.Conn              // it listens; drop closes it, and outside a handler nothing else may use it; nil: there is none
	deaf bool                   // the last connection was
	full bool                   // the server's notification queue is filling up; written by the prober
	// provenAt is when a notification from another connection last arrived on the present one; zero: none has.
	provenAt time.Time
	present  bool
	pid      uint32 // of the server's process, if present
	// unsettled means that the handler has something to try again at the next probe.
	unsettled bool
	shared    bool // the present connection listens to the probes of other processes

	// ticked is when the prober's loop last went round, in Unix nanoseconds.
	ticked atomic.Int64

	// reconnect has the pauses between connects; good resets it. Protected by mu.
	reconnect *backoff.ExponentialBackOff
}

// NewConnection returns a Connection, which Run runs.
func NewConnection(cfg ConnectionConfig) *Connection {
	c := &Connection{cfg: cfg, logs: map[*Listener]struct{}{}}
	const jitter = 0.2
	c.reconnect = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(25*time.Second), // 30 s with the jitter
		backoff.WithRandomizationFactor(jitter),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever; the default gives up after 15 minutes
	)
	c.reconnect.Reset()
	c.prober.init(c)
	c.tick()
	return c
}

// tick notes that the prober's loop goes round.
func (c *Connection) tick() { c.ticked.Store(time.Now().UnixNano()) }

// Ticked returns when the loop that watches over the connection last went round. It does so every 8 seconds or faster, also
// while the database does not answer.
func (c *Connection) Ticked() time.Time { return time.Unix(0, c.ticked.Load()) }

// Run listens until ctx is cancelled, and then waits for the prober. It survives every failure of the server and of the
// network. Call it once.
func (c *Connection) Run(ctx context.Context) {
	var wg sync.WaitGroup
	// Owned by Run: wg.Wait below waits for the prober.
	wg.Go(func() { c.prober.run(ctx) })
	for ctx.Err() == nil {
		c.listen(ctx)
	}
	wg.Wait()
	c.forget()
	for _, l := range c.all() {
		l.setMode(Polling)
	}
}

// listen opens one connection and listens through it until it is lost or ctx is cancelled. pgxlisten would go on with another
// one, but it would send one LISTEN after the other for all the channels of this one, those of logs that have left among them.
func (c *Connection) listen(ctx context.Context) {
	connCtx, end := context.WithCancel(ctx)
	defer end()
	pl := &pgxlisten.Listener{
		Connect: c.connect,
		// The pauses are in connect. Zero would mean a minute here and a negative value no pause at all.
		ReconnectDelay: time.Millisecond,
		LogError: func(_ context.Context, err error) {
			if connCtx.Err() == nil {
				c.lost(err)
				end()
			}
		},
	}
	pl.Handle(c.prober.channel(), newHandler(c, pl))
	_ = pl.Listen(connCtx) // returns only when connCtx is cancelled
}

// connect opens the connection, again and again with growing pauses, until it succeeds or ctx is cancelled. The pauses
// begin anew once a connection was good enough to arm, so a connection that is lost is replaced at once, and one that
// is refused a right is not opened twenty times a second.
func (c *Connection) connect(ctx context.Context) (*pgx.Conn, error) {
	for {
		if err := c.pause(ctx); err != nil {
			return nil, err
		}
		conn, err := c.cfg.Dialer.Dial(ctx, nil)
		if err == nil {
			// pgxlisten sends its LISTEN without a time limit. HandleBacklog, which comes after it, takes this one away.
			err = conn.PgConn().Conn().SetDeadline(time.Now().Add(statementTimeout))
			if err == nil {
				return conn, nil
			}
			_ = conn.Close(ctx)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.cfg.Log.Warn().Err(err).Msg("cannot connect to listen, polling meanwhile")
	}
}

// pause waits for the next pause of reconnect.
func (c *Connection) pause(ctx context.Context) error {
	c.mu.Lock()
	wait := c.reconnect.NextBackOff()
	c.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lost takes in that the connection or a handler failed with err.
func (c *Connection) lost(err error) {
	if !c.forget() {
		c.cfg.Log.Warn().Err(err).Msg("the listening connection is lost, polling until it is back")
	}
	for _, l := range c.all() {
		l.lost()
	}
}

// forget drops the state of a connection that is gone, and reports whether it was deaf.
func (c *Connection) forget() (deaf bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.provenAt, c.present, c.pid, c.unsettled, c.shared = nil, time.Time{}, false, 0, false, false
	return c.deaf
}

// enter takes l in. The handler listens and arms for it when a probe arrives, for which it asks.
func (c *Connection) enter(l *Listener) {
	c.mu.Lock()
	c.logs[l] = struct{}{}
	deaf := c.deaf
	c.mu.Unlock()
	l.setEntered(true)
	if deaf {
		l.setMode(Deaf)
	}
	c.prober.kick()
}

// leave forgets l. There are no more calls of l when it returns; the handler lets go of S when the next probe arrives, for
// which it asks.
func (c *Connection) leave(l *Listener) {
	l.setEntered(false)
	c.mu.Lock()
	delete(c.logs, l)
	c.mu.Unlock()
	c.prober.kick()
}

// all returns the logs that have entered and not left.
func (c *Connection) all() []*Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	logs := make([]*Listener, 0, len(c.logs))
	for l := range c.logs {
		logs = append(logs, l)
	}
	return logs
}

// addTo adds to s what the logs have in common.
func (c *Connection) addTo(s *State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Proven = time.Since(c.provenAt) < c.provenFor()
	s.Present, s.PID = c.present, c.pid
}

// proved notes that a probe has arrived on the present connection.
func (c *Connection) proved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.provenAt, c.deaf = time.Now(), false
}

// heard notes that another notification has arrived, from another session than the one that listens. On a connection that
// delivers it says what a probe says. It is no first proof: a pooler may pass on what another of its clients listens to.
func (c *Connection) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.provenAt.IsZero() {
		c.provenAt = time.Now()
	}
}

// isProven reports whether a notification has arrived lately.
func (c *Connection) isProven() bool {
	var s State
	c.addTo(&s)
	return s.Proven
}

// good notes that the connection does what it is for, so that the next one is opened at once if it is lost.
func (c *Connection) good() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reconnect.Reset()
}

// isPresent notes that the presence lock is held by the server's process pid.
func (c *Connection) isPresent(pid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.present, c.pid = true, pid
}

// setUnsettled notes whether the handler has something to try again at the next probe.
func (c *Connection) setUnsettled(unsettled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsettled = unsettled
}

// listens notes that conn has begun to listen to the probes, and asks for one.
func (c *Connection) listens(conn *pgx.Conn) {
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	c.prober.connected()
}

// connection returns the present connection, nil if there is none that listens.
func (c *Connection) connection() *pgx.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// drop closes a connection that delivers nothing. Closing the network connection is the one thing that may be done to it
// from here; pgxlisten notices, and another one is opened.
func (c *Connection) drop(conn *pgx.Conn) {
	c.mu.Lock()
	c.provenAt, c.deaf = time.Time{}, true
	c.mu.Unlock()
	for _, l := range c.all() {
		l.setMode(Deaf)
	}
	_ = conn.PgConn().Conn().Close()
}

// setFull notes whether the server's notification queue is filling up.
func (c *Connection) setFull(full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}

// isFull reports whether the server's notification queue is filling up.
func (c *Connection) isFull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full
}
