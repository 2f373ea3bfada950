//go:build unix

package integration_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/test/checkout"
)

// stranger is a session of a role that may connect, and nothing else.
func (s *stage) stranger() *pgx.Conn {
	s.t.Helper()
	name := s.Name + "_stranger"
	s.exec("create role " + name + " login password '" + testdb.Password + "'")
	conn, err := pgx.Connect(s.ctx, testdb.As(s.t, s.URL, name))
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		_ = conn.Close(context.Background())
		_, err := s.Pool.Exec(context.Background(), "drop owned by "+name+" cascade; drop role "+name, pgx.QueryExecModeSimpleProtocol)
		require.NoError(s.t, err)
	})
	return conn
}

// refusedTo checks that a statement lacks a right.
func refusedTo(ctx context.Context, t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(ctx, sql)
	var refused *pgconn.PgError
	if assert.ErrorAs(t, err, &refused, sql) {
		assert.Equal(t, "42501", refused.Code, "%s: %s", sql, refused.Message)
	}
}

func TestStrangerReadsAndWritesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	conn := s.stranger()
	rows, err := s.Pool.Query(s.ctx, "select relname::text, relkind = 'S' from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'S')")
	require.NoError(t, err)
	var name string
	var sequence bool
	var seen int
	_, err = pgx.ForEachRow(rows, []any{&name, &sequence}, func() error {
		seen++
		refusedTo(s.ctx, t, conn, "select * from "+name)
		switch {
		case sequence:
			refusedTo(s.ctx, t, conn, "select nextval('"+name+"')")
		case name != "rouse_members":
			refusedTo(s.ctx, t, conn, "insert into "+name+" default values")
			refusedTo(s.ctx, t, conn, "delete from "+name)
			refusedTo(s.ctx, t, conn, "truncate "+name)
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 10)
	refusedTo(s.ctx, t, conn, "create table public.mine (n int)")
}

// The functions of the triggers run with their owner's rights, so nobody else may attach them, not even to a table of their own that
// has everything that they look for.
func TestStrangerCannotAttachTheFunctionsOfTheTriggers(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	conn := s.stranger()
	s.exec("create schema lair")
	s.exec("grant usage, create on schema lair to " + s.Name + "_stranger")
	_, err := conn.Exec(s.ctx, "create table lair.events (global_position bigint generated always as identity, n int)")
	require.NoError(t, err)
	for _, function := range []string{"rouse_append_before", "rouse_append_after", "rouse_append_carry", "rouse_keep_whole"} {
		refusedTo(s.ctx, t, conn, "create trigger t before insert on lair.events for each statement execute function public."+function+"()")
		refusedTo(s.ctx, t, conn, "alter function public."+function+"() owner to "+s.Name+"_stranger")
		assert.Zero(t, s.int("select has_function_privilege($1, $2, 'execute')::int", s.Name+"_stranger", "public."+function+"()"))
	}
	s.exec("drop schema lair cascade")
}

func TestStrangerSeesTheNamesOfSessionsAndNotTheirStatements(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	conn := s.stranger()
	worker := s.Conn(t)
	_, err := worker.Exec(s.ctx, "set application_name = 'rouse worker billing-1'")
	require.NoError(t, err)
	var name, query string
	require.NoError(t, conn.QueryRow(s.ctx, "select application_name, query from pg_stat_activity where pid = $1", worker.PgConn().PID()).Scan(&name, &query))
	assert.Equal(t, "rouse worker billing-1", name)
	assert.Equal(t, "<insufficient privilege>", query)
}

func TestStrangerThatNotifiesOnlyWakes(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	w := s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}}).WaitStarted()
	conn := s.stranger()
	oid := s.int("select 'events'::regclass::oid::bigint")
	for n := range 500 {
		for _, payload := range []string{"", "x", strings.Repeat("9", 7999)} {
			_, err := conn.Exec(s.ctx, "select pg_notify('rouse_' || $1::bigint, $2)", oid, payload)
			require.NoError(t, err)
		}
		if n%100 == 0 {
			s.append(s.Pool, "a")
		}
	}
	s.exact("r")
	require.True(t, w.Health(s.ctx).Alive())
}

// Where pushes carry events, whoever connects hears them, and can send them again and make others up. Nothing of that is handled.
func TestStrangerHearsWhatPushesCarryAndForgesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	require.NoError(t, migrations.Carry(s.ctx, s.Conn(t), true, nil))
	w := s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}}).WaitStarted()
	testdb.Eventually(t, patience, "the worker to be armed", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	conn := s.stranger()
	refusedTo(s.ctx, t, conn, "select from rouse_push_key")
	channel := fmt.Sprintf("rouse_%d", s.int("select 'events'::regclass::oid::bigint"))
	_, err := conn.Exec(s.ctx, "listen "+channel)
	require.NoError(t, err)
	sent := func() string {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		defer cancel()
		n, err := conn.WaitForNotification(ctx)
		require.NoError(t, err)
		return n.Payload
	}
	at := s.append(s.Pool, "a")
	heard := sent()
	require.Contains(t, heard, "happened", "the event is there to be read")
	s.exact("r")
	for range 20 {
		next := strings.Replace(heard, fmt.Sprintf("\n%016x", at), fmt.Sprintf("\n%016x", at+1), 1)
		require.NotEqual(t, heard, next)
		for _, payload := range []string{heard, next, strings.Replace(heard, "happened", "occurred", 1)} {
			_, err := conn.Exec(s.ctx, "select pg_notify($1, $2)", channel, payload)
			require.NoError(t, err)
			require.Equal(t, payload, sent())
		}
		at = s.append(s.Pool, "a")
		for heard = sent(); heard == ""; heard = sent() { // of a wake in which the worker was not armed
		}
		s.exact("r")
	}
}

// A shared lock on the key of position 0 looks like an append that is open for ever. Events that follow without a gap are not held
// back; after a rollback, what is above the gap waits until the stranger goes; and rouse status shows the session.
func TestStrangerThatHoldsTheHorizonOnlyDelays(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.append(s.Pool, "a")
	s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}}).WaitStarted()
	s.exact("r")
	conn := s.stranger()
	_, err := conn.Exec(s.ctx, "select pg_advisory_lock_shared(($1::bigint & 16777215) << 40)", s.int("select 'events'::regclass::oid::bigint"))
	require.NoError(t, err)
	s.append(s.Pool, "a")
	s.exact("r")

	tx, _ := s.open("b")
	require.NoError(t, tx.Rollback(s.ctx))
	s.append(s.Pool, "a")
	require.Never(t, func() bool { return len(s.handled("r")) > 2 }, time.Second, 50*time.Millisecond)
	r, err := report.Read(s.ctx, s.Pool)
	require.NoError(t, err)
	require.Len(t, r.OpenAppends, 1)
	require.EqualValues(t, conn.PgConn().PID(), r.OpenAppends[0].PID)
	require.Equal(t, s.Name+"_stranger", r.OpenAppends[0].Role)
	require.NoError(t, conn.Close(s.ctx))
	s.exact("r")
}

// The dead are those whose own sessions are gone, whoever else holds their lock.
func TestStrangerThatSharesAPresenceKeyKeepsNobodyAlive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	kill := s.process("victim")
	s.eventually(patience, "the worker to have told of its sessions", "select presence_pids is not null from projection_workers")
	conn := s.stranger()
	_, err := conn.Exec(s.ctx, `select pg_advisory_lock_shared(1919907152, objid::int) from pg_locks
		where locktype = 'advisory' and classid = 1919907152 and objsubid = 2 and database = (select oid from pg_database where datname = current_database())`)
	require.NoError(t, err)
	// A worker of a server that has just started is given the time to speak.
	s.eventually(patience, "the server to have run for a while", "select clock_timestamp() > pg_postmaster_start_time() + interval '1 second' * $1", (rouse.DefaultLeaseTTL + time.Second).Seconds())
	// Its heartbeats are good for an hour from here on, so that nothing but its sessions tells.
	s.exec("create function kept() returns trigger language plpgsql as 'begin new.valid_ms := 3600000; return new; end'")
	s.exec("create trigger kept before update on projection_workers for each row execute function kept()")
	s.eventually(patience, "such a heartbeat", "select valid_ms = 3600000 from projection_workers")
	kill()
	s.eventually(patience, "the worker to count as dead", "select not alive from rouse_members")
	require.EqualValues(t, 1, s.int("select count(*) from pg_locks where classid = 1919907152 and objsubid = 2 and pid = $1", conn.PgConn().PID()))
}

// TestSecurityNamesTestsThatExist: each row of what roles can and cannot do names a test, and each test that is named is there.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	tests := topLevelTests(t, root)
	for _, page := range []string{readText(t, root, "docs", "security.md"), readText(t, root, "SECURITY.md")} {
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(page, -1) {
			assert.Contains(t, tests, name)
		}
	}
	_, rest, found := strings.Cut(readText(t, root, "docs", "security.md"), "\n## What each role can do\n")
	require.True(t, found)
	section, _, found := strings.Cut(rest, "\n## ")
	require.True(t, found)
	rows := regexp.MustCompile(`(?m)^\| (can|cannot|can delay) \| .* \| (.*) \|$`).FindAllStringSubmatch(section, -1)
	require.GreaterOrEqual(t, len(rows), 20)
	for _, row := range rows {
		assert.Regexp(t, `^(Test[A-Z]\w*(, )?)+$`, row[2], row[0])
	}
	assert.Equal(t, len(rows), len(regexp.MustCompile(`(?m)^\| (can|cannot)`).FindAllString(section, -1)), "each row has three cells")
}
