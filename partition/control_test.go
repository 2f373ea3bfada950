package partition_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// controlled is a Control that runs until the test ends, or until it is stopped.
type controlled struct {
	*partition.Control
	b        *bundle
	instance string
	presence int32
	beside   atomic.Uint32 // the server's process of another session that holds the presence for it; 0: none does
	cancel   context.CancelFunc
	done     chan struct{}
}

var lastPresence struct {
	sync.Mutex
	key int32
}

func (b *bundle) control(ttl time.Duration, change func(*pgx.ConnConfig)) *controlled {
	b.t.Helper()
	conn, err := pgx.ParseConfig(b.URL)
	require.NoError(b.t, err)
	if change != nil {
		change(conn)
	}
	c := &controlled{b: b, instance: eventstore.NewID().String(), presence: newPresence(), done: make(chan struct{})}
	c.Control = partition.NewControl(partition.ControlConfig{Dialer: db.DialerOf(conn), Presence: c.presence, TTL: ttl, Row: c.row})
	return c.run().registered()
}

// newPresence returns the key of a presence lock that no other test takes.
func newPresence() int32 {
	lastPresence.Lock()
	defer lastPresence.Unlock()
	lastPresence.key++
	return 1000 + lastPresence.key
}

// row is its row in projection_workers.
func (c *controlled) row() partition.Member {
	row := partition.Member{Instance: c.instance, Label: "controlled", States: map[string]string{"p": "live"}}
	if pid := c.beside.Load(); pid != 0 {
		row.PresencePIDs = []uint32{pid}
	}
	return row
}

// run runs it until the test ends, or until it is stopped.
func (c *controlled) run() *controlled {
	ctx, cancel := context.WithCancel(c.b.ctx)
	c.cancel = cancel
	go func() { defer close(c.done); c.Run(ctx) }()
	c.b.t.Cleanup(c.stop)
	return c
}

// registered waits until it is.
func (c *controlled) registered() *controlled {
	c.b.t.Helper()
	select {
	case <-c.Ready():
	case <-time.After(patience):
		require.FailNow(c.b.t, "it does not register")
	}
	return c
}

func (c *controlled) stop() { c.cancel(); <-c.done }

func (c *controlled) sessions() int64 {
	return c.b.int("select count(*) from pg_locks where objsubid = 2 and classid = 1919907152 and objid = $1 and mode = 'ShareLock'", c.presence)
}

func (c *controlled) alive() bool {
	return c.b.int("select count(*) from rouse_members where instance_id = $1::text::uuid and alive", c.instance) == 1
}

func (c *controlled) terminate() {
	c.b.exec("select pg_terminate_backend(pid) from pg_locks where objsubid = 2 and classid = 1919907152 and objid = $1", c.presence)
}

func TestControlRegistersHoldsItsPresenceAndTakesLeave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.control(partition.DefaultTTL, nil)
	require.True(t, c.alive())
	require.EqualValues(t, 1, c.sessions())
	changed := c.Changed()
	other := b.control(partition.DefaultTTL, nil)
	select {
	case <-changed:
	case <-time.After(patience):
		require.Fail(t, "it does not see who joins")
	}
	other.Leave()
	b.eventuallyInt(1, "select count(*) from rouse_members where leaving")
	other.stop()
	require.EqualValues(t, 1, b.int("select count(*) from projection_workers"))
	c.stop()
	require.Zero(t, b.int("select count(*) from projection_workers"))
	testdb.Eventually(t, patience, "the server to end the session", func() (bool, error) { return c.sessions() == 0, nil })
}

// The trust survives a lost connection, which is opened again at once.
func TestControlComesBackWithoutLosingTrust(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.control(partition.DefaultTTL, nil)
	trust, err := c.Trust(b.ctx)
	require.NoError(t, err)
	for range 3 {
		c.terminate()
		testdb.Eventually(t, patience, "the presence to be held again", func() (bool, error) { return c.sessions() == 1 && c.alive(), nil })
	}
	require.NoError(t, trust.Err())
}

// When no heartbeat gets through, the process must stop relying on its leases while others still leave them to it.
func TestTrustEndsBeforeOthersMayTake(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var gate sync.Mutex // held: no connection is made
	c := b.control(partition.DefaultTTL, func(cfg *pgx.ConnConfig) {
		dial := cfg.DialFunc
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			gate.Lock()
			defer gate.Unlock()
			return dial(ctx, network, address)
		}
	})
	// The listening session holds the presence too, and keeps it.
	listening := b.Conn(t)
	_, err := listening.Exec(b.ctx, "select pg_advisory_lock_shared(1919907152, $1)", c.presence)
	require.NoError(t, err)
	c.beside.Store(listening.PgConn().PID())
	c.Beat()
	testdb.Eventually(t, patience, "it to be told", func() (bool, error) {
		return b.int("select count(*) from projection_workers where cardinality(presence_pids) = 2") == 1, nil
	})
	trust, err := c.Trust(b.ctx)
	require.NoError(t, err)
	gate.Lock()
	testdb.Eventually(t, patience, "the session to be ended", func() (bool, error) {
		return b.int(`select count(pg_terminate_backend(pid)) from pg_locks
			where objsubid = 2 and classid = 1919907152 and objid = $1 and pid <> $2`, c.presence, listening.PgConn().PID()) == 1, nil
	})
	select {
	case <-trust.Done():
	case <-time.After(patience):
		require.FailNow(t, "the trust does not end")
	}
	require.ErrorIs(t, context.Cause(trust), partition.ErrNoTrust)
	require.True(t, c.alive(), "others must not be allowed to take yet")
	testdb.Eventually(t, patience, "others to be allowed to", func() (bool, error) { return !c.alive(), nil })
	short, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err = c.Trust(short)
	require.ErrorIs(t, err, context.Canceled, "there is none to be had")
	gate.Unlock()
	again, err := c.Trust(b.ctx)
	require.NoError(t, err)
	require.NoError(t, again.Err())
	require.True(t, c.alive())
}

// A stranger that shares the presence of a dead process does not keep it among the living.
func TestStrangerThatSharesThePresenceKeepsNobodyAlive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own, stranger := b.Conn(t), b.Conn(t)
	for _, conn := range []*pgx.Conn{own, stranger} {
		_, err := conn.Exec(b.ctx, "select pg_advisory_lock_shared(1919907152, 4711)")
		require.NoError(t, err)
	}
	m := partition.Member{Instance: eventstore.NewID().String(), Label: "m", Presence: 4711, TTL: time.Second, Validity: time.Hour} // so that only its presence tells
	alive := func() bool {
		require.NoError(t, m.Heartbeat(b.ctx, b.Pool))
		return b.int("select count(*) from rouse_members where alive") == 1
	}
	m.PresencePIDs = []uint32{own.PgConn().PID()}
	require.True(t, alive())
	require.NoError(t, own.Close(b.ctx))
	testdb.Eventually(t, patience, "it to count as dead", func() (bool, error) { return !alive(), nil }) // not just after a start of the server
	m.PresencePIDs = nil                                                                                 // as an older binary writes it, which names none
	require.True(t, alive())
}

// Through a pooler no lock may be taken that outlives a transaction. A pooler is told by the process id that it makes up.
func TestControlTakesNoLockThroughAPooler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.control(partition.DefaultTTL, func(cfg *pgx.ConnConfig) {
		cfg.TLSConfig, cfg.Fallbacks = nil, nil // to see the messages
		dial := cfg.DialFunc
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &pooled{Conn: conn}, err
		}
	})
	require.True(t, c.alive())
	require.Zero(t, c.sessions())
	require.EqualValues(t, 1, b.int("select count(*) from projection_workers where presence is null"))
}

// pooled is a connection on which the server's BackendKeyData carries another process id.
type pooled struct {
	net.Conn
	seen bool   // the message has come
	rest []byte // of the message that is passed on
}

func (p *pooled) Read(out []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.seen {
			return p.Conn.Read(out)
		}
		if err := p.message(); err != nil {
			return 0, err
		}
	}
	n := copy(out, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// message reads one message of the server: a letter, the length, and the body.
func (p *pooled) message() error {
	head := make([]byte, 5)
	if _, err := io.ReadFull(p.Conn, head); err != nil {
		return err
	}
	p.rest = append(head, make([]byte, binary.BigEndian.Uint32(head[1:])-4)...)
	if _, err := io.ReadFull(p.Conn, p.rest[5:]); err != nil {
		return err
	}
	if head[0] == 'K' {
		p.rest[8]++ // the last byte of the process id
		p.seen = true
	}
	return nil
}

// Whenever the end comes, also in the middle of a heartbeat or of a look, the row goes with it.
func TestControlTakesLeaveWheneverItIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 60 {
		c := b.control(partition.DefaultTTL, nil)
		for range i % 4 {
			c.Beat()
			b.int("select 1") // takes about as long as a heartbeat, so the stop hits other moments
		}
		c.stop()
		require.Zero(t, b.int("select count(*) from projection_workers"), "stop %d", i)
	}
}

// What is left of a dead owner holds rows of the read model: its sessions are ended, those that show its presence and those that
// work for it. Nobody else's are.
func TestTerminateEndsTheSessionsOfDeadOwnersOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	session := func(class, key int) *pgx.Conn {
		conn := b.Conn(t)
		_, err := conn.Exec(b.ctx, "select pg_advisory_lock_shared($1, $2)", class, key)
		require.NoError(t, err)
		return conn
	}
	const presence, work = 1919907152, 1919907159
	dead, living, idle := b.member("dead", 501), b.member("living", 502), b.member("dead without partitions", 503)
	frozen := []*pgx.Conn{session(presence, 501), session(work, 501)}
	others := []*pgx.Conn{session(presence, 502), session(work, 502), session(presence, 503)}
	b.claim(dead, true, 0)
	b.claim(living, true, 1)
	for _, m := range []partition.Member{dead, idle} {
		b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '1 hour' where instance_id = $1::text::uuid", m.Instance)
	}
	ended, err := partition.Terminate(b.ctx, b.Pool, "p")
	require.NoError(t, err)
	require.Equal(t, 2, ended)
	for _, conn := range frozen {
		require.Error(t, conn.Ping(b.ctx))
	}
	for _, conn := range others {
		require.NoError(t, conn.Ping(b.ctx))
	}
}
