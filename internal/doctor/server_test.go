package doctor

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

func TestServerThatIsAwayIsTheOnlyFinding(t *testing.T) {
	t.Parallel()
	b := bare(t, testdb.Empty(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	b.cfg.Pool.ConnConfig.Host, b.cfg.Pool.ConnConfig.Port = "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port)
	b.cfg.Explain = func(error) string { return "cannot reach it: refused (is it running?)" }
	assert.Equal(t, Report{Failed: 1, Findings: []Finding{{Check: "server", Level: Fail, Text: "cannot reach it: refused", Do: "is it running?"}}}, b.examine())
}

func TestOldServersAndFullQueuesAreJudged(t *testing.T) {
	t.Parallel()
	assert.Equal(t, Fail, judgeVersion(140012, "14.12").Level)
	assert.NotEmpty(t, judgeVersion(140012, "14.12").Do)
	assert.Equal(t, OK, judgeVersion(150000, "15.0").Level)
	for usage, level := range map[float64]Level{0: OK, 0.05: OK, 0.2: Warn, 0.6: Fail} {
		finding := judgeQueue(usage)
		assert.Equal(t, level, finding.Level, usage)
		assert.Equal(t, level == OK, finding.Do == "")
	}
}

func TestDatabaseThatIsNotUTF8Fails(t *testing.T) {
	t.Parallel()
	b := bare(t, testdb.Empty(t))
	name := b.Name + "_ascii"
	b.exec("create database " + pgx.Identifier{name}.Sanitize() + " template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
	t.Cleanup(func() { b.exec("drop database " + pgx.Identifier{name}.Sanitize() + " with (force)") })
	b.cfg.Pool.ConnConfig.Database = name
	b.exec("revoke connect on database " + pgx.Identifier{name}.Sanitize() + " from public")
	b.exec("grant connect on database " + pgx.Identifier{name}.Sanitize() + " to " + b.Name + "_worker")
	checks, said := unwell(b.examine())
	require.Equal(t, []string{"encoding", "schema"}, checks)
	require.Contains(t, said, "SQL_ASCII")
	require.Contains(t, said, "rouse migrate")
}

func TestSchemaThatIsMissingOlderNewerOrElsewhereFails(t *testing.T) {
	t.Parallel()
	empty := bare(t, testdb.Empty(t))
	empty.requireOnly(empty.examine(), "schema", Fail, "no Rouse tables", "rouse migrate")
	empty.exec("create schema nested")
	conn := empty.Conn(t)
	_, err := conn.Exec(t.Context(), "set search_path = nested")
	require.NoError(t, err)
	_, err = migrations.Up(t.Context(), conn)
	require.NoError(t, err)
	empty.requireOnly(empty.examine(), "schema", Fail, "in schema \"nested\"", "--schema nested")

	older := setup(t)
	older.exec("delete from rouse_migrations where version > 1")
	older.requireOnly(older.examine(), "schema", Fail, "older", "rouse migrate")

	newer := setup(t)
	newer.exec("insert into rouse_migrations (version, name, oldest_binary) values (1000, 'later', 1)")
	newer.requireWell()
	newer.exec("update rouse_migrations set oldest_binary = 1000 where version = 1000")
	newer.requireOnly(newer.examine(), "schema", Fail, "newer", "deploy a newer rouse")
}

// as makes the doctor look with a role of its own.
func (b *bundle) as(grants ...string) (role string) {
	b.t.Helper()
	role = b.Name + "_other" // roles are the server's
	b.exec("create role " + role + " role " + b.Name + "_worker")
	b.t.Cleanup(func() {
		b.exec("drop owned by " + role)
		b.exec("drop role " + role)
	})
	for _, grant := range grants {
		b.exec("grant " + grant + " to " + role)
	}
	b.cfg.Pool.ConnConfig.RuntimeParams["role"] = role
	return role
}

// workerRights are what a worker needs.
var workerRights = []string{
	"select on events", "select on rouse_migrations", "select on sequence events_global_position_seq", "select on rouse_members", "select on retired_projections",
	"select on rouse_retention", "select on rouse_archives",
	"select, insert, update on projections", "select, insert, update on projection_checkpoints", "select, insert on rouse_incarnation",
	"update on rouse_restart", "select, insert, update, delete on projection_workers", "select, insert, update, delete on parked_events",
	"select, insert, update, delete on event_attempts",
}

func TestEachMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.as(workerRights...)
	b.requireWell()
	for _, right := range []string{
		"insert on projections", "update on projection_checkpoints", "select on rouse_incarnation", "update on rouse_restart",
		"insert, update on projection_workers", "delete on parked_events", "insert on event_attempts",
	} {
		b.exec("revoke " + right + " from " + role)
		b.requireOnly(b.examine(), "rights", Fail, "grant "+right[:len(right)-len(object(right))]+"public."+object(right)+" to "+role)
		b.exec("grant " + right + " to " + role)
	}
	b.requireWell()

	// What other checks need too they miss as well, and the check of rights says how to mend it.
	for _, right := range []string{"select on events", "select on sequence events_global_position_seq", "select on rouse_members"} {
		b.exec("revoke " + right + " from " + role)
		checks, said := unwell(b.examine())
		require.Contains(t, checks, "rights", said)
		require.Contains(t, said, "grant select on ", said)
		b.exec("grant " + right + " to " + role)
	}
	b.exec("revoke select on rouse_migrations from " + role)
	b.requireOnly(b.examine(), "schema", Fail, "permission denied", "grant select on rouse_migrations")
	b.exec("revoke usage on schema public from public")
	b.requireOnly(b.examine(), "schema", Fail, "may not use", `grant usage on schema "public" to "`+role)
}

// object is the last word of a right.
func object(right string) string {
	for i := len(right) - 1; ; i-- {
		if right[i] == ' ' {
			return right[i+1:]
		}
	}
}

func TestSubscriberFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.Conn(t)
	// A subscription without a publisher, and the row that one with a publisher would have made.
	name := pgx.Identifier{"sub_" + b.Name}.Sanitize()
	for _, sql := range []string{
		"create subscription " + name + " connection '' publication nobody with (connect = false)",
		"set allow_system_table_mods = on",
		"insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 'events'::regclass, 'r' from pg_subscription where subdbid = (select oid from pg_database where datname = current_database())",
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	b.requireOnly(b.examine(), "source", Fail, "subscription", "publisher")
	for _, sql := range []string{"alter subscription " + name + " set (slot_name = none)", "drop subscription " + name} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	b.requireWell()
}

// TestConnectionsAndStandby share a server of their own.
func TestConnectionsAndStandby(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, map[string]string{"max_connections": "30"}) // 27 for ordinary roles: 25 are many
	b := healthy(t, testdb.On(t, server))
	b.requireWell()
	var conns []*pgx.Conn
	for range 24 - b.Pool.Stat().TotalConns() {
		conns = append(conns, b.Conn(t))
	}
	b.requireOnly(b.examine(), "connections", Warn, "of 27 are in use", "max_connections")
	for _, conn := range conns {
		closeConn(conn)
	}
	testdb.Eventually(t, patience, "the connections to be gone", func() (bool, error) { return b.examine().Warned == 0, nil })

	standby, err := server.Standby(t.Context())
	require.NoError(t, err)
	testdb.StopAtCleanup(t, standby)
	on, err := pgx.ParseConfig(standby.URL(b.Name))
	require.NoError(t, err)
	b.cfg.Pool.ConnConfig.Host, b.cfg.Pool.ConnConfig.Port = on.Host, on.Port
	testdb.Eventually(t, patience, "the standby to have followed", func() (bool, error) {
		checks, _ := unwell(b.examine())
		return len(checks) == 1, nil
	})
	b.requireOnly(b.examine(), "source", Fail, "standby", "connect to the primary")
}

// A pooler is told by the process id that it makes up, and one in transaction mode delivers no notification.
func TestPoolerIsSeenAndWhatItSwallows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	direct := b.cfg.Pool.ConnConfig.Copy()
	through := func(cfg *pgx.ConnConfig, deaf bool) {
		dial := cfg.DialFunc
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &pooled{Conn: conn, deaf: deaf}, err
		}
	}
	through(b.cfg.Pool.ConnConfig, false)
	b.requireOnly(b.examine(), "pooler", Warn, "leads to a pooler", "ROUSE_LISTEN_URL")

	b.cfg.Listen = direct
	b.requireWell()

	b.cfg.Listen = direct.Copy()
	through(b.cfg.Listen, true)
	r := b.examine()
	checks, said := unwell(r)
	require.Equal(t, []string{"pooler", "listen"}, checks, said)
	require.Equal(t, 1, r.Failed)
	require.Contains(t, said, "did not arrive")

	b.cfg.Listen = direct.Copy()
	b.cfg.Listen.Database = "postgres" // a notification is heard in its own database only
	checks, said = unwell(b.examine())
	require.Equal(t, []string{"listen"}, checks, said)
	require.Contains(t, said, "the same database")

	b.cfg.Listen = direct.Copy()
	b.cfg.Listen.Database = "no_such_database"
	checks, said = unwell(b.examine())
	require.Equal(t, []string{"pooler", "listen"}, checks, said)
}

// pooled is a connection on which the server's BackendKeyData carries another process id and, if it is deaf, no notification
// arrives.
type pooled struct {
	net.Conn
	deaf bool
	rest []byte // of the message that is passed on
}

func (p *pooled) Read(out []byte) (int, error) {
	for len(p.rest) == 0 {
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
	message := append(head, make([]byte, binary.BigEndian.Uint32(head[1:])-4)...)
	if _, err := io.ReadFull(p.Conn, message[5:]); err != nil {
		return err
	}
	switch {
	case head[0] == 'K':
		message[8]++ // the last byte of the process id
	case head[0] == 'A' && p.deaf:
		return nil
	}
	p.rest = message
	return nil
}

// TestDatabaseThatIsReadOnlyFails: a worker and an append are refused there.
func TestDatabaseThatIsReadOnlyFails(t *testing.T) {
	t.Parallel()
	b := bare(t, testdb.New(t))
	b.exec("alter database " + pgx.Identifier{b.Name}.Sanitize() + " set default_transaction_read_only = on")
	checks, said := unwell(b.examine())
	require.Contains(t, checks, "source")
	require.Contains(t, said, "read-only")
	require.Contains(t, said, "set default_transaction_read_only to off")
}
