package partition

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/db"
)

// roundInterval is how often a session's loop goes round at least, so that Ticked shows that it runs. It costs no statement.
const roundInterval = time.Second

// SessionConfig configures a Session. Log may be left out.
type SessionConfig struct {
	// Dialer opens the control connection. It should lead to PostgreSQL itself.
	Dialer *db.Dialer

	// Presence is the key of the presence lock.
	Presence int32

	Log zerolog.Logger
}

// Session is a control connection, on which any number of Controls, each for a log of its own, send their statements one after
// the other. A Control joins it when it runs, and takes leave when it ends; the Session may begin to run before or after that. A
// statement that fails for a reason of its own log is the trouble of that Control alone: only what costs the connection is
// everybody's. Its methods may be called by many goroutines.
type Session struct {
	cfg    SessionConfig
	nudges chan struct{} // sent by nudge: look what is due; buffered to 1, one is enough for all calls

	ticked atomic.Int64 // when the loop last went round, in Unix nanoseconds

	mu       sync.Mutex // protects the fields below
	controls []*Control
	stands   bool // there is a connection, on which whoever goes takes leave

	quiet bool   // the log has the message that the connection is lost; for Run's goroutine alone, as is code
	code  string // the reasonOf that message; another one is logged again
}

// NewSession returns a Session, which Run runs.
func NewSession(cfg SessionConfig) *Session {
	s := &Session{cfg: cfg, nudges: make(chan struct{}, 1)}
	s.tick()
	return s
}

// tick notes that the loop goes round.
func (s *Session) tick() { s.ticked.Store(time.Now().UnixNano()) }

// Ticked returns when the loop last went round. It does so every second or faster, also while the database does not
// answer, except during a statement, which takes 2 seconds at most, and during a connect: that counts as going round until
// the present host has had its time.
func (s *Session) Ticked() time.Time {
	ticked, now := time.Unix(0, s.ticked.Load()), time.Now()
	if ticked.After(now) {
		return now
	}
	return ticked
}

// nudge makes the loop look what is due. It does not wait.
func (s *Session) nudge() {
	select {
	case s.nudges <- struct{}{}:
	default:
	}
}

// add lets c take part. What it returns is closed once c has taken leave, for which the caller asks by remove.
func (s *Session) add(c *Control) (left <-chan struct{}) {
	c.left = make(chan struct{})
	s.mu.Lock()
	s.controls = append(s.controls, c)
	s.mu.Unlock()
	s.nudge()
	return c.left
}

// remove makes c take leave, at once where there is no connection to say it on.
func (s *Session) remove(c *Control) {
	s.mu.Lock()
	if c.going = true; !s.stands {
		s.forget(c)
	}
	s.mu.Unlock()
	s.nudge()
}

// forget removes c, which has taken leave as far as it can. The caller holds the mutex.
func (s *Session) forget(c *Control) {
	if i := slices.Index(s.controls, c); i >= 0 {
		s.controls = slices.Delete(s.controls, i, i+1)
		close(c.left)
	}
}

// list returns those that take part, and which of them are to take leave.
func (s *Session) list() (staying, going []*Control) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.controls {
		if c.going {
			going = append(going, c)
		} else {
			staying = append(staying, c)
		}
	}
	return staying, going
}

// Run keeps the control connection until ctx is cancelled, and then deletes the rows of the members that are still there. It
// survives every failure of the server and of the network. Without a Control it has no connection. Call it once.
func (s *Session) Run(ctx context.Context) {
	pauses := newPauses()
	for s.wanted(ctx) {
		s.tick()
		err := s.connect(ctx, pauses)
		if ctx.Err() != nil {
			return
		}
		s.failed(err)
		select {
		case <-ctx.Done():
		case <-time.After(pauses.NextBackOff()):
		}
	}
}

// newPauses returns the pauses between two tries.
func newPauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(time.Second), // a fifth of the default TTL
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
	pauses.Reset()
	return pauses
}

// wanted waits until a Control takes part, and reports whether ctx still lives.
func (s *Session) wanted(ctx context.Context) bool {
	for ctx.Err() == nil {
		s.tick()
		if staying, going := s.list(); len(staying)+len(going) > 0 {
			return true
		}
		s.rest(ctx, time.Now().Add(roundInterval))
	}
	return false
}

// rest waits until a time, until there is a nudge, or until ctx ends.
func (s *Session) rest(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s.nudges:
	case <-timer.C:
	}
}

// failed takes in why a connection ended, which is everybody's trouble.
func (s *Session) failed(err error) {
	staying, _ := s.list()
	for _, c := range staying {
		c.failed(err)
	}
	if code := reasonOf(err); !s.quiet || code != s.code {
		s.quiet, s.code = true, code
		explain(s.cfg.Log, err, false)
	}
}

// connect connects and serves until that connection fails or ctx is cancelled.
func (s *Session) connect(ctx context.Context, pauses backoff.BackOff) error {
	conn, err := s.cfg.Dialer.Dial(ctx, func(until time.Time) { s.ticked.Store(until.UnixNano()) })
	s.tick()
	if err != nil {
		return fmt.Errorf("partition: open the control connection: %w", err)
	}
	s.mu.Lock()
	s.stands = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.stands = false
		for _, c := range slices.Clone(s.controls) {
			if c.going {
				s.forget(c)
			}
		}
		s.mu.Unlock()
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
		defer cancel()
		_ = conn.Close(closeCtx)
	}()
	present, err := s.prepare(ctx, conn)
	if err != nil {
		return err
	}
	line := line{conn: conn}
	if present {
		line.presence, line.pid = s.cfg.Presence, conn.PgConn().PID()
	}
	return s.serve(ctx, &line, pauses)
}

// line is one control connection. It is for the goroutine of a session.
type line struct {
	conn     *pgx.Conn
	presence int32  // 0: it holds no presence lock
	pid      uint32 // of the server's process that holds it
	admitted int    // the Controls for which it leads to the right database

	rolled, rollAt time.Time // when the last roll call was, and when the next one is; zero: none is
}

// serve sends what is due for each Control, until the connection is lost or ctx is cancelled. Then all take leave.
func (s *Session) serve(ctx context.Context, l *line, pauses backoff.BackOff) error {
	everybody, _ := s.list()
	for _, c := range everybody {
		c.begin()
	}
	for {
		s.tick()
		staying, going := s.list()
		if ctx.Err() != nil {
			going, staying = append(going, staying...), nil
		}
		for _, c := range going {
			c.takeLeave(ctx, l)
			s.mu.Lock()
			s.forget(c)
			s.mu.Unlock()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		next, err := s.round(ctx, l, staying, pauses)
		if err != nil {
			return err
		}
		s.rest(ctx, next)
	}
}

// round serves each Control, after a roll call if it is time for one, and returns when to go round again.
func (s *Session) round(ctx context.Context, l *line, staying []*Control, pauses backoff.BackOff) (next time.Time, err error) {
	if !l.rollAt.IsZero() && !time.Now().Before(l.rollAt) {
		held, err := l.callRoll(ctx)
		if err != nil {
			return next, err
		}
		l.rolled = time.Now()
		for _, c := range staying {
			c.compare(held)
		}
	}
	next, l.rollAt = time.Now().Add(roundInterval), time.Time{}
	members := 0
	for _, c := range staying {
		s.tick()
		done, err := c.serve(ctx, l, len(staying))
		if err != nil {
			return next, err
		}
		if done.beat {
			s.works(pauses)
		}
		if done.roll && len(c.presence) > 0 {
			members = max(members, c.Members())
		}
		if done.next.Before(next) {
			next = done.next
		}
	}
	if members > 0 {
		l.rollAt = l.rolled.Add(watchInterval + time.Duration(members)*watchShare)
		if l.rollAt.Before(next) {
			next = l.rollAt
		}
	}
	return next, nil
}

// works notes that the connection does: a heartbeat has got through.
func (s *Session) works(pauses backoff.BackOff) {
	pauses.Reset()
	if s.quiet {
		s.quiet = false
		s.cfg.Log.Info().Msg("the control connection is back")
	}
}

// prepare makes the settings of the session and takes the presence lock, before a heartbeat says that it is held.
// Through a pooler it does neither: settings would pass on to other clients, and a lock would outlive the process.
func (s *Session) prepare(ctx context.Context, conn *pgx.Conn) (present bool, err error) {
	if direct, err := isDirect(ctx, conn); err != nil || !direct {
		return false, err
	}
	settingsCtx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if _, err := conn.Exec(settingsCtx, sqlSettings.In("")); err != nil {
		if conn.IsClosed() {
			return false, fmt.Errorf("partition: set up the control session: %w", err)
		}
		s.cfg.Log.Warn().Err(err).Msg("the server refuses a setting of the control session; a cut network is noticed later")
	}
	presenceCtx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if err := conn.QueryRow(presenceCtx, sqlPresence.In(""), s.cfg.Presence).Scan(&present); err != nil {
		return false, fmt.Errorf("partition: take the presence lock: %w", err)
	}
	return present, nil
}

// isDirect reports whether the server at the other end is PostgreSQL itself: a pooler hands out process ids of its own,
// for it has no process behind a connection.
func isDirect(ctx context.Context, conn *pgx.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return false, fmt.Errorf("partition: look at the control connection: %w", err)
	}
	return pid == conn.PgConn().PID(), nil
}
