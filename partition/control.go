package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

const (
	// watchInterval is how often the membership is looked at; a look costs the server about half a millisecond. With many
	// members the looks of all together stay bounded: each adds watchShare to the interval of everybody. Of 64 each looks every
	// 0.75 s, so that a death is still noticed within a second.
	watchInterval = 90 * time.Millisecond
	watchShare    = 10 * time.Millisecond

	// beatsPerTTL is how many heartbeats are sent in the time that one is good for.
	beatsPerTTL = 5

	// controlTimeout bounds every statement of the control session: after that the connection counts as lost.
	controlTimeout = 2 * time.Second
)

// ErrNoTrust is why the context of Trust ends: the heartbeats do not get through, so others may soon count this process as
// dead and take its partitions.
var ErrNoTrust = errors.New("partition: the control connection is lost, and others may take the partitions")

// ControlConfig is what a Control needs. All fields but Log are required.
type ControlConfig struct {
	// ConnConfig opens the control connection. It should lead to PostgreSQL itself.
	ConnConfig *pgx.ConnConfig

	// Presence is the key of the presence lock.
	Presence int32

	// TTL is how long a heartbeat is good for.
	TTL time.Duration

	// Row is what to say of this process at the moment; Control fills in Presence and Leaving, and asks from its own goroutine.
	Row func() Member

	Log zerolog.Logger
}

// Control keeps a process among the living: on a connection of its own, which neither handlers nor a drained pool can starve,
// it holds the presence lock, sends the heartbeats and watches who else is there. Its methods may be used by many goroutines.
type Control struct {
	cfg   ControlConfig
	ready chan struct{} // closed after the first heartbeat
	kick  chan struct{} // send a heartbeat now; buffered to 1, one is enough for all who ask

	mu       sync.Mutex // protects the fields below
	changed  chan struct{}
	leaving  bool
	members  int
	trust    context.Context // nil while there is none
	distrust context.CancelCauseFunc
	lapse    *time.Timer

	ticked atomic.Int64 // Unix nanoseconds

	seen  string // the membership as it was last seen; only serve looks
	quiet bool   // that the connection is lost has been said; only Run looks
	code  string // and with which SQLSTATE; another one is another reason
}

// NewControl makes a Control; Run runs it.
func NewControl(cfg ControlConfig) *Control {
	c := &Control{cfg: cfg, ready: make(chan struct{}), kick: make(chan struct{}, 1), changed: make(chan struct{})}
	c.tick()
	return c
}

func (c *Control) tick() { c.ticked.Store(time.Now().UnixNano()) }

// Ticked is when the loop last went round, which it does every second or faster, whatever the database does. One statement of it
// takes 2 seconds at most.
func (c *Control) Ticked() time.Time { return time.Unix(0, c.ticked.Load()) }

// Run keeps the control connection until ctx is cancelled, and then takes the member's row away. It lives through every
// failure of the server and of the network.
func (c *Control) Run(ctx context.Context) {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(time.Second), // a fifth of the default TTL
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
	pauses.Reset()
	for ctx.Err() == nil {
		c.tick()
		err := c.session(ctx, pauses)
		if ctx.Err() != nil {
			break
		}
		if code := codeOf(err); !c.quiet || code != c.code {
			c.quiet, c.code = true, code
			c.explain(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pauses.NextBackOff()):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(context.Canceled)
}

// codeOf is the server's code of an error, empty if it is none of the server's.
func codeOf(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// explain logs why a session ended. What a person has to mend is an error, and what is away comes back.
func (c *Control) explain(err error) {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "42501" || pgErr.Code == "42P01") { // insufficient_privilege, undefined_table
		c.cfg.Log.Error().Err(err).Msg("the heartbeats are refused, and others may take the partitions: grant select, insert, update and delete on" +
			" projection_workers, and select on rouse_members")
		return
	}
	c.cfg.Log.Warn().Err(err).Msg("the control connection is lost, connecting again")
}

// Ready is closed once the process is registered.
func (c *Control) Ready() <-chan struct{} { return c.ready }

// Changed is closed at the next change of the membership. Call it before looking, and nothing is missed.
func (c *Control) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Trust returns a context under which this process may rely on its leases: it ends with ErrNoTrust when the last heartbeat
// that got through is four fifths of TTL old, a fifth before others may count it as dead. Where there is no trust it waits
// until there is, or until ctx ends.
func (c *Control) Trust(ctx context.Context) (context.Context, error) {
	for {
		c.mu.Lock()
		trust, changed := c.trust, c.changed
		c.mu.Unlock()
		if trust != nil {
			return trust, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Trusted tells whether there is trust at this moment, and so whether changes are told.
func (c *Control) Trusted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trust != nil
}

// Members is how many living members there were at the last look, this one included; 0: nobody has looked yet.
func (c *Control) Members() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

// Leave tells the others that this process is stopping, so that they plan without it. It does not wait.
func (c *Control) Leave() {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	c.Beat()
}

// Beat asks for a heartbeat now, because there is something to tell.
func (c *Control) Beat() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// session lasts as long as one connection.
func (c *Control) session(ctx context.Context, pauses backoff.BackOff) error {
	connectCtx, cancel := context.WithTimeout(ctx, controlTimeout)
	conn, err := pgx.ConnectConfig(connectCtx, c.cfg.ConnConfig)
	cancel()
	if err != nil {
		return fmt.Errorf("partition: open the control connection: %w", err)
	}
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
		defer cancel()
		_ = conn.Close(closeCtx)
	}()
	present, err := c.settle(ctx, conn)
	if err == nil {
		err = c.serve(ctx, conn, present, pauses)
	}
	if ctx.Err() != nil && !conn.IsClosed() {
		leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
		defer cancel()
		if err := c.cfg.Row().Leave(leaveCtx, conn); err != nil {
			c.cfg.Log.Warn().Err(err).Msg("cannot take leave of the database, others will notice by themselves")
		}
	}
	return err
}

// settle makes the settings of the session and takes the presence lock, before anything says that it is held. Through a
// pooler it does neither: what is set there goes on to other clients, and a lock taken there would outlive the process.
func (c *Control) settle(ctx context.Context, conn *pgx.Conn) (present bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if direct, err := isDirect(ctx, conn); err != nil || !direct {
		return false, err
	}
	if _, err := conn.Exec(ctx, sqlSettings); err != nil {
		if conn.IsClosed() {
			return false, fmt.Errorf("partition: set up the control session: %w", err)
		}
		c.cfg.Log.Warn().Err(err).Msg("the server refuses a setting of the control session; a cut network is noticed later")
	}
	if err := conn.QueryRow(ctx, sqlPresence, c.cfg.Presence).Scan(&present); err != nil {
		return false, fmt.Errorf("partition: take the presence lock: %w", err)
	}
	return present, nil
}

// isDirect tells whether the server at the other end is PostgreSQL itself: a pooler hands out process ids of its own, for
// it has no process behind a connection.
func isDirect(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return false, fmt.Errorf("partition: look at the control connection: %w", err)
	}
	return pid == conn.PgConn().PID(), nil
}

// serve sends heartbeats and watches, until something fails or ctx is cancelled.
func (c *Control) serve(ctx context.Context, conn *pgx.Conn, present bool, pauses backoff.BackOff) error {
	interval := c.cfg.TTL / beatsPerTTL
	var beaten time.Time
	beat := time.NewTicker(interval)
	defer beat.Stop()
	watch := time.NewTimer(0)
	defer watch.Stop()
	for due := true; ; due = false {
		c.tick()
		if due || time.Since(beaten) >= interval {
			if err := c.beat(ctx, conn, present); err != nil {
				return err
			}
			beaten = time.Now()
			pauses.Reset()
			if c.quiet {
				c.quiet = false
				c.cfg.Log.Info().Msg("the control connection is back")
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.kick:
			beaten = time.Time{}
		case <-beat.C:
		case <-watch.C:
			members, err := c.watch(ctx, conn)
			if err != nil {
				return err
			}
			watch.Reset(watchInterval + time.Duration(members)*watchShare)
		}
	}
}

func (c *Control) beat(ctx context.Context, conn *pgx.Conn, present bool) error {
	row := c.cfg.Row()
	row.TTL = c.cfg.TTL
	if row.Presence = 0; present {
		row.Presence = c.cfg.Presence
	}
	c.mu.Lock()
	row.Leaving = c.leaving
	c.mu.Unlock()
	// A statement that is broken off takes the connection with it, which is still needed to take leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
	defer cancel()
	sent := time.Now()
	if err := row.Heartbeat(ctx, conn); err != nil {
		return err
	}
	c.renew(sent)
	return nil
}

// renew extends the trust from the moment on when a heartbeat was sent, which is before the database dated it.
func (c *Control) renew(sent time.Time) {
	left := time.Until(sent.Add(c.cfg.TTL * 4 / 5))
	c.mu.Lock()
	defer c.mu.Unlock()
	if left <= 0 {
		return
	}
	if c.trust != nil {
		// A timer that has fired waits for the mutex and will find another one in its place.
		c.lapse.Stop()
	} else {
		c.trust, c.distrust = context.WithCancelCause(context.Background())
		c.broadcast()
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.lapse == timer {
			c.end(ErrNoTrust)
		}
	})
	c.lapse = timer
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// end ends the trust. The caller holds the mutex.
func (c *Control) end(cause error) {
	if c.trust == nil {
		return
	}
	c.lapse.Stop()
	c.distrust(cause)
	c.trust, c.lapse = nil, nil
}

// broadcast tells whoever waits that something has changed. The caller holds the mutex.
func (c *Control) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// watch looks at the membership and returns how many members there are.
func (c *Control) watch(ctx context.Context, conn *pgx.Conn) (members int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout) // as in beat
	defer cancel()
	var now string
	if err := conn.QueryRow(ctx, sqlWatch).Scan(&members, &now); err != nil {
		return 0, fmt.Errorf("partition: watch the members: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = members
	if now != c.seen {
		c.seen = now
		c.broadcast()
	}
	return members, nil
}
