package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/db"
)

// controlTimeout bounds every statement of the control session: after that the connection counts as lost.
const controlTimeout = 2 * time.Second

// ErrNoTrust is the cause with which the context of Trust ends: the heartbeats do not get through, so other members may
// soon count this process as dead and take its partitions.
var ErrNoTrust = errors.New("partition: the control connection is lost, and others may take the partitions")

// ControlConfig configures a Control. TTL and Row are required, and either Session or Dialer and Presence.
type ControlConfig struct {
	// Session is the control connection, which the Control shares with those of other logs of the same database and whose
	// presence lock is that of its member; the caller runs it. nil: the Control has a Session of its own, for which it needs
	// Dialer and Presence.
	Session *Session

	// Dialer opens the control connection. It should lead to PostgreSQL itself.
	Dialer *db.Dialer

	// Presence is the key of the presence lock.
	Presence int32

	// Schema holds Rouse's tables. "": search_path finds them.
	Schema string

	// Place returns the Place of the pool; anew: of connections that are made for it. While the connection leads to another one, no
	// heartbeat is sent. nil: it is not compared. It is called on the goroutine of Run, and may wait for the pool.
	Place func(ctx context.Context, anew bool) (string, error)

	// TTL is how long a heartbeat is valid that is sent while there is something to lose. At rest it may be valid for longer.
	TTL time.Duration

	// Static means that nobody takes over from this process and it from nobody, so that it need not look for the dead.
	Static bool

	// IdleInterval, if longer than what is usual at rest, is the time between two heartbeats there.
	IdleInterval time.Duration

	// Row returns the row of this process as of now; Control fills in Presence, TTL, Leaving and Working. Only the goroutine of
	// the Session calls it, as it does the functions below. They must not wait, and each of those may be nil.
	Row func() Member

	// Busy reports whether the process has work in hand: a handler runs, or there is more to catch up with. nil: it never has.
	Busy func() bool

	// Settled reports whether the process owns the partitions that it should, and everybody else does. nil: it always is.
	Settled func() bool

	// Told reports whether a change of the membership leads to a call of Look, and an append to one of Stir. nil: nothing does.
	Told func() bool

	// Head is called with the highest position at which there is an event, with each heartbeat at rest. nil: it is not looked for.
	Head func(position int64)

	Log zerolog.Logger
}

// Control keeps a process among the living of one log: on the connection of its Session, which neither handlers nor a drained
// pool can starve, it sends the heartbeats and watches the other members. Its methods may be called by many goroutines.
type Control struct {
	cfg     ControlConfig
	session *Session
	own     bool          // the session is this Control's alone, which runs it
	ready   chan struct{} // closed by renew after the first heartbeat; callers of Ready wait for it
	refused chan error    // sent by failed, once; buffered to 1, so that nobody need receive

	mu         sync.Mutex              // protects the fields below
	changed    chan struct{}           // closed and replaced by broadcast; callers of Changed and Trust wait for it
	leaving    bool                    // set by Leave, for good
	kicked     bool                    // set by Beat: a heartbeat is due
	seenByPool string                  // by Seen: the incarnation that the pool has come to; "": looked at
	seen       string                  // what others have to do with the plan, at the last look
	planned    string                  // what of the own row others plan by, at the last heartbeat
	members    int                     // at the last look; 0: none yet
	trouble    error                   // why no heartbeat gets through; nil once one has
	trust      context.Context         //nolint:containedctx // handed out by Trust; nil while there is none
	distrust   context.CancelCauseFunc // ends trust
	lapse      *time.Timer             // ends trust when the last heartbeat is too old
	until      time.Time               // when it does

	stirred atomic.Int64 // when Stir was last called, in Unix nanoseconds
	asked   atomic.Bool  // set by Look
	isAwake atomic.Bool  // as serve found it

	left  chan struct{} // closed by the session when it has removed this Control; written by its add, under its mutex
	going bool          // it is to take leave; protected by the session's mutex

	place place

	// For the session's goroutine alone.
	admitted   bool          // the present connection leads to the database of the pool
	instance   string        // of the last row
	beaten     time.Time     // when the last heartbeat on the present connection was sent; zero: none was
	validity   time.Duration // that it declared
	working    bool          // that it declared
	looked     time.Time     // when the last look was over
	due        bool          // a look is due now
	changes    time.Time     // when one is due because the membership changes by itself; zero: it does not
	othersWork bool          // another member has work in hand, at the last look
	presence   []presence    // the locks of the other members, at the last look
	told       bool          // Told, when it was last asked
	resume     time.Time     // before then nothing is sent, because the last statement failed
	pauses     *backoff.ExponentialBackOff
	quiet      bool   // the log has the message that heartbeats are refused
	code       string // the reasonOf that message; another one is logged again
}

// NewControl returns a Control, which Run runs.
func NewControl(cfg ControlConfig) *Control {
	c := &Control{
		cfg: cfg, session: cfg.Session, ready: make(chan struct{}), refused: make(chan error, 1), changed: make(chan struct{}), pauses: newPauses(),
		place: newPlace(),
	}
	if c.session == nil {
		c.own = true
		c.session = NewSession(SessionConfig{Dialer: cfg.Dialer, Presence: cfg.Presence, Log: cfg.Log})
	}
	return c
}

// Ticked is that of the Session.
func (c *Control) Ticked() time.Time { return c.session.Ticked() }

// Run takes part in the Session until ctx is cancelled, and then deletes the member's row. It survives every failure
// of the server and of the network. Call it once.
func (c *Control) Run(ctx context.Context) {
	if c.own {
		sessionCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		// Owned by Run, which waits for it.
		go func() { defer close(ended); c.session.Run(sessionCtx) }()
		defer func() { cancel(); <-ended }()
	}
	left := c.session.add(c)
	c.answer(ctx)
	c.session.remove(c)
	select {
	case <-left:
	case <-time.After(2 * controlTimeout): // one statement that was under way, and the farewell
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(context.Canceled)
}

// Ready returns a channel that is closed once the process is registered.
func (c *Control) Ready() <-chan struct{} { return c.ready }

// Changed returns a channel that is closed at the next change of the membership. Call it before looking, so that no
// change is missed.
func (c *Control) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Members returns the number of living members at the last look, this one included; 0: there was none yet.
func (c *Control) Members() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

// Leave announces to the other members that this process is stopping, so that they plan without it. It does not wait.
func (c *Control) Leave() {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	c.Beat()
}

// Beat asks for a heartbeat now, because the row has changed. It does not wait.
func (c *Control) Beat() {
	c.mu.Lock()
	c.kicked = true
	c.mu.Unlock()
	c.session.nudge()
}

// begin begins with a new connection.
func (c *Control) begin() {
	c.admitted = false
	c.beaten, c.resume = time.Time{}, time.Time{}
	c.place.misses, c.place.here = 0, ""
}

// serve sends on l what is due among logs of the session, and returns when it next has something to send, and whether the
// session is to call the roll until then; sent: a heartbeat got through. An error means that the connection is lost.
func (c *Control) serve(ctx context.Context, l *line, logs int) (s served, err error) {
	now := time.Now()
	if now.Before(c.resume) {
		return served{next: c.resume}, nil
	}
	if !c.admitted {
		if err := c.admit(ctx, l); err != nil {
			return c.fails(l, err)
		}
		if !c.admitted {
			return served{next: now.Add(roundInterval)}, nil
		}
	}
	if err := c.checkSeen(ctx, l); err != nil {
		return c.fails(l, err)
	}
	r := c.rhythm(now, logs)
	if r.awake != c.isAwake.Swap(r.awake) && r.awake {
		c.due = true // who has died while nobody looked
	}
	if c.mustBeat(now, r) {
		if err := c.beat(ctx, l, r); err != nil {
			return c.fails(l, err)
		}
		s.beat = true
		c.succeeded()
	}
	if c.due || c.asked.Load() || now.Sub(c.looked) >= r.look || !c.changes.IsZero() && !now.Before(c.changes) {
		if err := c.watch(ctx, l); err != nil {
			return c.fails(l, err)
		}
	}
	s.roll, s.next = r.roll, c.beaten.Add(c.beatEvery(r))
	for _, at := range []time.Time{c.looked.Add(r.look), c.changes} {
		if !at.IsZero() && at.Before(s.next) {
			s.next = at
		}
	}
	return s, nil
}

// served is what a Control has done in one round, and when the next one is due.
type served struct {
	beat, roll bool
	next       time.Time
}

// mustBeat reports whether a heartbeat is due: by the rhythm, because it was asked for, because the last one is valid
// for longer than it should be now, or because the others have to be told that there is work in hand, or is none any more.
func (c *Control) mustBeat(now time.Time, r rhythm) bool {
	c.mu.Lock()
	kicked := c.kicked
	c.kicked = false
	c.mu.Unlock()
	return kicked || now.Sub(c.beaten) >= c.beatEvery(r) || r.validity < c.validity ||
		c.busy() != c.working && now.After(c.dozes().Add(-toldBefore))
}

// beat sends one heartbeat and renews the trust.
func (c *Control) beat(ctx context.Context, l *line, r rhythm) error {
	row := c.cfg.Row()
	row.TTL, row.Validity, row.schema = c.cfg.TTL, r.validity, c.cfg.Schema
	row.Presence = l.presence
	if l.presence != 0 {
		row.PresencePIDs = append(row.PresencePIDs, l.pid)
	} else {
		row.PresencePIDs = nil
	}
	c.mu.Lock()
	row.Leaving = c.leaving
	c.mu.Unlock()
	row.Working = c.busy()
	args, err := row.args()
	if err != nil {
		return fmt.Errorf("partition: write the heartbeat: %w", err)
	}
	// Without cancellation: a statement that is broken off takes the connection with it, which is still needed to
	// delete the row.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
	defer cancel()
	sent := time.Now()
	c.shorten(sent, r.validity)
	var found look
	wantHead := c.cfg.Head != nil && !r.awake
	if err := found.scan(l.conn.QueryRow(ctx, sqlHeartbeat.In(c.cfg.Schema), append(args, wantHead)...), &found.head); err != nil {
		return fmt.Errorf("partition: write the heartbeat: %w", err)
	}
	c.beaten, c.instance, c.validity, c.working = sent, row.Instance, r.validity, row.Working
	c.saw(found, row.plannedBy()) // before Ready is, so that Members is known then
	c.renew(sent, r.validity)
	if found.head != nil {
		c.cfg.Head(*found.head)
	}
	return nil
}

// takeLeave deletes the member's row, if the connection still stands.
func (c *Control) takeLeave(ctx context.Context, l *line) {
	if l.conn.IsClosed() || !c.admitted {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
	defer cancel()
	row := c.cfg.Row()
	row.schema = c.cfg.Schema
	if err := row.Leave(ctx, l.conn); err != nil {
		c.cfg.Log.Warn().Err(err).Msg("cannot take leave of the database, others will notice by themselves")
	}
}

// broadcast wakes the goroutines that wait for a change. The caller holds the mutex.
func (c *Control) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}
