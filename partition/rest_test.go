package partition_test

import (
	"context"
	"net"
	"slices"
	"strings"
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

// sent is what a control connection has sent, by kind and in order.
type sent struct {
	mu    sync.Mutex
	kinds []string
}

func (s *sent) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sql := range texts {
		kind := "other: " + sql
		switch {
		case strings.Contains(sql, "projection_workers as w"):
			kind = "heartbeat"
		case strings.Contains(sql, "rouse_members where alive"):
			kind = "look"
		case strings.Contains(sql, "from pg_locks"):
			kind = "roll call"
		}
		s.kinds = append(s.kinds, kind)
	}
}

// during waits for n heartbeats and returns what was sent from the first to the last of them.
func (s *sent) during(t *testing.T, n int) []string {
	t.Helper()
	s.mu.Lock()
	s.kinds = nil
	s.mu.Unlock()
	var between []string
	testdb.Eventually(t, patience, "some heartbeats", func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		first, beats := slices.Index(s.kinds, "heartbeat"), 0
		for i, kind := range s.kinds {
			if kind == "heartbeat" {
				beats++
			}
			if beats == n {
				between = slices.Clone(s.kinds[first : i+1])
				return true, nil
			}
		}
		return false, nil
	})
	return between
}

// controlWith is a control whose configuration a test has changed, and what its connection sends.
func (b *bundle) controlWith(change func(*partition.ControlConfig, *pgx.ConnConfig)) (*controlled, *sent) {
	b.t.Helper()
	conn, err := pgx.ParseConfig(b.URL)
	require.NoError(b.t, err)
	s := &sent{}
	conn.Tracer = testdb.Sent(s.add)
	c := &controlled{b: b, instance: eventstore.NewID().String(), presence: newPresence(), done: make(chan struct{})}
	cfg := partition.ControlConfig{Presence: c.presence, TTL: partition.DefaultTTL, Row: c.row, Told: func() bool { return true }}
	change(&cfg, conn)
	cfg.Dialer = db.DialerOf(conn)
	c.Control = partition.NewControl(cfg)
	return c.run().registered(), s
}

func (c *controlled) atRest() *controlled {
	c.b.t.Helper()
	testdb.Eventually(c.b.t, patience, "it to rest", func() (bool, error) { return !c.IsAwake(), nil })
	return c
}

// beside is another member, whose heartbeat is valid for the whole test.
func (b *bundle) beside() {
	b.t.Helper()
	b.present("another", newPresence())
	b.exec("update projection_workers set valid_ms = 3600000 where label = 'another'")
}

func TestControlAtRestSendsNothingButHeartbeats(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beside()
	c, sent := b.controlWith(func(*partition.ControlConfig, *pgx.ConnConfig) {})
	c.atRest()
	require.Equal(t, []string{"heartbeat", "heartbeat", "heartbeat"}, sent.during(t, 3))
	require.True(t, c.Trusted())
	require.EqualValues(t, 2, c.Members(), "a heartbeat is a look as well")
}

// While there is something to lose, it looks for the dead many times between two heartbeats, and reads no table for that.
func TestControlAwakeCallsTheRoll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beside()
	c, sent := b.controlWith(func(cfg *partition.ControlConfig, _ *pgx.ConnConfig) { cfg.Busy = func() bool { return true } })
	testdb.Eventually(t, patience, "the other one to be seen", func() (bool, error) { return c.Members() == 2, nil })
	// A machine that stands still has room for the heartbeats and for little else, and may need another try.
	var kinds []string
	calls := 0
	for try := 0; try < 10 && calls <= 2*(len(kinds)-calls); try++ {
		calls, kinds = 0, sent.during(t, 4)
		for _, kind := range kinds {
			require.Contains(t, []string{"heartbeat", "roll call", "look"}, kind)
			if kind == "roll call" {
				calls++
			}
		}
	}
	require.Greater(t, calls, 2*(len(kinds)-calls), "most are roll calls: %v", kinds)
	require.EqualValues(t, 1, b.int("select count(*) from projection_workers where working"), "and others are told of its work")
}

// Nobody tells it of changes: it looks between two heartbeats.
func TestControlThatIsNotToldLooksAtRest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, sent := b.controlWith(func(cfg *partition.ControlConfig, _ *pgx.ConnConfig) { cfg.Told = nil })
	c.atRest()
	require.Contains(t, sent.during(t, 3), "look")
}

// Both statements see the same members, so nobody is told of a change because one of them came after the other.
func TestHeartbeatsAndLooksAgree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	b.exec("update projections set barrier = 7, barrier_holder = gen_random_uuid(), barrier_until = clock_timestamp() + interval '1 hour'")
	b.beside()
	c, sent := b.controlWith(func(cfg *partition.ControlConfig, _ *pgx.ConnConfig) { cfg.Told = nil })
	sent.during(t, 2)
	changed := c.Changed()
	require.Contains(t, sent.during(t, 4), "look")
	select {
	case <-changed:
		require.Fail(t, "nothing has changed")
	default:
	}
}

// What is told by a notification is looked at, and whoever waits is woken even where the members are the same.
func TestLookIsAskedForAtRest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.controlWith(func(cfg *partition.ControlConfig, _ *pgx.ConnConfig) { cfg.IdleInterval = time.Hour })
	c.atRest()
	changed := c.Changed()
	c.Look()
	select {
	case <-changed:
	case <-time.After(patience):
		require.Fail(t, "nobody is woken")
	}
}

// Members tell each other what they plan by, and what an operator asks for is told as well. Heartbeats tell nothing.
func TestChangesAreToldAndHeartbeatsAreNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	listening := b.Conn(t)
	channel := "rouse_" + b.text("select 'events'::regclass::oid::text") + "_members"
	_, err := listening.Exec(b.ctx, "listen "+pgx.Identifier{channel}.Sanitize())
	require.NoError(t, err)
	// told is the number of notifications that a statement leads to; those of one transaction come once.
	told := func(do func()) (n int) {
		t.Helper()
		do()
		b.exec("select pg_notify($1, 'end')", channel)
		for {
			note, err := listening.WaitForNotification(b.ctx)
			require.NoError(t, err)
			if note.Payload == "end" {
				return n
			}
			n++
		}
	}
	m := partition.Member{Instance: eventstore.NewID().String(), Label: "m", States: map[string]string{"p": "live"}}
	beat := func() { require.NoError(t, m.Heartbeat(b.ctx, b.Pool)) }
	require.Equal(t, 1, told(beat), "it joins")
	require.Zero(t, told(beat))
	m.States["p"], m.EventsHandled, m.Working, m.Validity = "catching-up", 7, true, time.Hour
	require.Zero(t, told(beat), "which others do not plan by")
	m.States["q"] = "live"
	require.Equal(t, 1, told(beat), "it runs another projection")
	m.Avoids = map[string][]int{"p": {1}}
	require.Equal(t, 1, told(beat))
	m.Leaving = true
	require.Equal(t, 1, told(beat))
	b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '2 hours'")
	require.Equal(t, 1, told(beat), "it is back among the living")
	require.Equal(t, 1, told(func() { require.NoError(t, m.Leave(b.ctx, b.Pool)) }))
	for _, wish := range []string{"state = 'paused'", "state = 'running'", "partitions = 8", "reset_to = 0", "reset_force = true", "reset_due_at = now()",
		"barrier = 3, barrier_holder = gen_random_uuid(), barrier_until = now()"} {
		require.Equal(t, 1, told(func() { b.exec("update projections set " + wish) }), wish)
	}
	require.Zero(t, told(func() { b.exec("update projections set barrier_until = now() + interval '1 minute'") }), "a barrier is renewed")
}

// The last heartbeat was valid for hours, and the next one for a second. Its answer is lost, so others count by what this process
// does not know: its trust must have ended before.
func TestTrustIsShortenedBeforeTheHeartbeatThatShortensIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var mute atomic.Bool // no answer comes, and no connection is made
	c, _ := b.controlWith(func(cfg *partition.ControlConfig, conn *pgx.ConnConfig) {
		cfg.TTL, cfg.IdleInterval = time.Second, time.Hour
		dial := conn.DialFunc
		conn.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			if mute.Load() {
				return nil, net.ErrClosed
			}
			connection, err := dial(ctx, network, address)
			return &muted{Conn: connection, mute: &mute}, err
		}
		conn.TLSConfig, conn.Fallbacks = nil, nil
	})
	c.atRest()
	b.eventuallyInt(1, "select count(*) from projection_workers where valid_ms > 3600000")
	trust, err := c.Trust(b.ctx)
	require.NoError(t, err)
	mute.Store(true)
	c.Stir()
	b.eventuallyInt(1, "select count(*) from projection_workers where valid_ms is null")
	select {
	case <-trust.Done():
	case <-time.After(patience):
		require.Fail(t, "it still relies on the heartbeat that is not valid any more")
	}
}

// muted is a connection on which nothing is heard while mute is set.
type muted struct {
	net.Conn
	mute *atomic.Bool
}

func (m *muted) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	for err == nil && m.mute.Load() {
		n, err = m.Conn.Read(p)
	}
	return n, err
}

// Among many each speaks more rarely and says so, until there is something to do.
func TestControlAmongManyRestsLonger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held := newPresence()
	b.present("another", held)
	for range 59 {
		b.member("another", held)
	}
	b.exec("update projection_workers set valid_ms = 3600000")
	c, _ := b.controlWith(func(*partition.ControlConfig, *pgx.ConnConfig) {})
	c.atRest()
	b.eventuallyInt(1, "select count(*) from projection_workers where valid_ms between 10000 and 11000") // two and a half times 61/14 s
	c.Stir()
	b.eventuallyInt(1, "select count(*) from projection_workers where valid_ms is null")
	require.EqualValues(t, 61, c.Members())
}
