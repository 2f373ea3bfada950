package partition_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// log creates a schema of its own with what a member's row needs, as the tables of the default one are.
func (b *bundle) log(name string) {
	b.t.Helper()
	schema := pgx.Identifier{name}.Sanitize()
	conn := b.Conn(b.t)
	_, err := conn.Exec(b.ctx, "create schema "+schema+"; set search_path = "+schema)
	require.NoError(b.t, err)
	_, err = migrations.Up(b.ctx, conn)
	require.NoError(b.t, err)
}

// shared is a session that runs until the test ends, or until it is stopped.
type shared struct {
	*partition.Session
	b        *bundle
	presence int32
	stop     func()
}

func (b *bundle) session() *shared {
	b.t.Helper()
	conn, err := pgx.ParseConfig(b.URL)
	require.NoError(b.t, err)
	s := &shared{b: b, presence: newPresence()}
	s.Session = partition.NewSession(partition.SessionConfig{Dialer: db.DialerOf(conn), Presence: s.presence})
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	s.stop = func() { cancel(); <-done }
	b.t.Cleanup(s.stop)
	return s
}

// control is a Control of s for the log in a schema, which has begun to run.
func (s *shared) control(schema string) *controlled {
	s.b.t.Helper()
	c := &controlled{b: s.b, instance: eventstore.NewID().String(), presence: s.presence, done: make(chan struct{})}
	c.Control = partition.NewControl(partition.ControlConfig{Session: s.Session, Schema: schema, TTL: partition.DefaultTTL, Row: c.row})
	return c.run()
}

func living(schema string) string {
	return "select count(*) from " + schema + ".rouse_members where alive"
}

func TestLogsOfOneSessionLiveAndLeaveEachByItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log("one")
	b.log("two")
	s := b.session()
	one, two := s.control("one").registered(), s.control("two").registered()
	require.EqualValues(t, 1, b.int(living("one")))
	require.EqualValues(t, 1, b.int(living("two")))
	require.EqualValues(t, 1, one.sessions(), "one connection, which shows the presence of both")
	one.stop()
	require.Zero(t, b.int("select count(*) from one.projection_workers"))
	require.EqualValues(t, 1, b.int(living("two")))
	s.stop()
	require.Zero(t, b.int("select count(*) from two.projection_workers"), "who ends the session takes leave for all")
	two.stop()
}

// A schema that is dropped is the trouble of its own log: the connection stays, and the others with it.
func TestLogWhoseSchemaIsDroppedLeavesTheOthersLive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log("one")
	b.log("two")
	s := b.session()
	one, two := s.control("one").registered(), s.control("two").registered()
	pid := b.int("select pid from pg_locks where objsubid = 2 and classid = 1919907152 and objid = $1", s.presence)
	b.exec("drop schema one cascade")
	testdb.Eventually(t, patience, "one to be in trouble", func() (bool, error) { return one.Trouble() != nil, nil })
	before := b.int("select (extract(epoch from max(heartbeat_at)) * 1000)::bigint from two.projection_workers")
	b.eventuallyInt(1, "select count(*) from two.projection_workers where (extract(epoch from heartbeat_at) * 1000)::bigint > $1", before)
	require.NoError(t, two.Trouble())
	require.True(t, two.Trusted())
	b.log("one")
	testdb.Eventually(t, patience, "one to be back", func() (bool, error) { return one.Trouble() == nil && one.Trusted(), nil })
	require.EqualValues(t, 1, b.int(living("one")))
	require.Equal(t, pid, b.int("select pid from pg_locks where objsubid = 2 and classid = 1919907152 and objid = $1", s.presence), "on the same connection")
}

// A log joins and goes while its session has no connection, and nobody waits for one.
func TestLogMayComeAndGoWithoutAConnection(t *testing.T) {
	t.Parallel()
	conn, err := pgx.ParseConfig("postgres://nobody@127.0.0.1:1/nowhere?sslmode=disable")
	require.NoError(t, err)
	s := partition.NewSession(partition.SessionConfig{Dialer: db.DialerOf(conn), Presence: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	c := partition.NewControl(partition.ControlConfig{Session: s, TTL: partition.DefaultTTL, Row: func() partition.Member { return partition.Member{} }})
	runCtx, stop := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); c.Run(runCtx) }()
	testdb.Eventually(t, patience, "it to be in trouble", func() (bool, error) { return c.Trouble() != nil, nil })
	stop()
	<-gone
	cancel()
	<-done
}
