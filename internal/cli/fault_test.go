package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
)

// verbs are the commands that need a database with the schema.
var verbs = [][]string{{"status"}, {"worker", "--once"}, {"append", "--count", "1"}}

// closedPort is an address of this machine on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestUnreachableDatabase(t *testing.T) {
	t.Parallel()
	address := closedPort(t)
	env := []string{"DATABASE_URL=postgres://postgres:s3cret@" + address + "/x"}
	for _, verb := range append(verbs, []string{"migrate"}, []string{"demo", "--duration", "1s"}) {
		requireFault(t, runRouse(t, env, verb...), 3, "cannot reach PostgreSQL at "+address, "refused", "DATABASE_URL")
	}
	requireFault(t, runRouse(t, []string{"DATABASE_URL=postgres://no-such-host.invalid/x"}, "status"), 3, "no-such-host.invalid", "host name")
	requireFault(t, runRouse(t, []string{"DATABASE_URL=postgres://u:s3cret%zz@h/x"}, "status"), 3, "cannot be read", "percent-encoded")
	requireFault(t, runRouse(t, nil, "status", "--database-url", "host=127.0.0.1 port=abc password=s3cret"), 3, "cannot be read")
}

func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	db := testdb.On(t, server)
	mustExec(t, db.Pool, "create role app login password 's3cret-right'")
	mustExec(t, db.Pool, "grant select, insert, update on all tables in schema public to app")
	hba := "host all nobody 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n"
	require.NoError(t, os.WriteFile(filepath.Join(server.DataDir(), "pg_hba.conf"), []byte(hba), 0o600))
	mustExec(t, db.Pool, "select pg_reload_conf()")
	as := func(user *url.Userinfo) []string {
		return []string{"DATABASE_URL=" + with(t, db.URL, func(u *url.URL) { u.User = user })}
	}
	testdb.Eventually(t, processTimeout, "the server to know the rules", func() (bool, error) {
		_, err := pgx.Connect(t.Context(), strings.TrimPrefix(as(url.User("nobody"))[0], "DATABASE_URL="))
		var refused *pgconn.PgError
		return errors.As(err, &refused) && refused.Code == "28000", nil
	})

	wrong := as(url.UserPassword("app", "s3cret-wrong"))
	for _, verb := range append(verbs, []string{"migrate"}) {
		requireFault(t, runRouse(t, wrong, verb...), 3, "refuses the login", "app", "password")
	}
	requireFault(t, runRouse(t, as(url.User("nobody")), "status"), 3, "refuses the login", "nobody", "pg_hba.conf")
	requireFault(t, runRouse(t, as(url.User("ghost")), "status"), 3, "refuses the login", "ghost")
	assert.Zero(t, runRouse(t, as(url.UserPassword("app", "s3cret-right")), "status").code)
}

func TestMissingDatabase(t *testing.T) {
	t.Parallel()
	address := with(t, testdb.Empty(t).URL, func(u *url.URL) { u.Path = "/no_such_database" })
	for _, verb := range append(verbs, []string{"migrate"}) {
		requireFault(t, runRouse(t, []string{"DATABASE_URL=" + address}, verb...), 3, "no_such_database", "create it")
	}
}

func TestMissingOlderAndNewerSchema(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	for _, verb := range verbs {
		requireFault(t, runRouse(t, on(db), verb...), 4, "no Rouse tables", "rouse migrate")
	}
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from pg_tables where schemaname = 'public'"), "only migrate creates tables")
	requireFault(t, runRouse(t, on(db), "migrate", "--schema", "nowhere"), 4, "search_path", "create it")

	mustRouse(t, db, "migrate")
	mustExec(t, db.Pool, "insert into rouse_migrations (version, name, oldest_binary) values (1000, 'later', 1)")
	mustRouse(t, db, "status")
	mustExec(t, db.Pool, "update rouse_migrations set oldest_binary = 1000 where version = 1000")
	for _, verb := range append(verbs, []string{"migrate"}) {
		requireFault(t, runRouse(t, on(db), verb...), 4, "newer than this binary", "deploy a newer rouse")
	}
	mustExec(t, db.Pool, "delete from rouse_migrations where version > 1")
	for _, verb := range verbs {
		requireFault(t, runRouse(t, on(db), verb...), 4, "older than this binary", "rouse migrate")
	}
}

func TestDatabaseThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	name := db.Name + "_ascii"
	mustExec(t, db.Pool, "create database "+name+" encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
	t.Cleanup(func() { mustExec(t, db.Pool, "drop database "+name+" with (force)") })
	env := []string{"DATABASE_URL=" + with(t, db.URL, func(u *url.URL) { u.Path = "/" + name })}
	requireFault(t, runRouse(t, env, "migrate"), 4, "SQL_ASCII", "create database NAME encoding 'UTF8'")
	requireFault(t, runRouse(t, env, "worker", "--once"), 4, "rouse migrate")
}

func TestStandby(t *testing.T) {
	t.Parallel()
	primary := testdb.Server(t, nil)
	db := testdb.On(t, primary)
	mustRouse(t, db, "append", "--count", "10")
	standby, err := primary.Standby(t.Context())
	require.NoError(t, err)
	testdb.StopAtCleanup(t, standby)
	env := []string{"DATABASE_URL=" + standby.URL(db.Name)}
	assert.Zero(t, runRouse(t, env, "status").code, "reading is possible there")
	requireFault(t, runRouse(t, env, "worker", "--once"), 4, "read-only", "connect to the primary")
	mustRouse(t, db, "worker", "--once")
	onStandby, err := pgx.Connect(t.Context(), standby.URL(db.Name))
	require.NoError(t, err)
	defer database.Close(onStandby)
	testdb.Eventually(t, processTimeout, "the table of the projection to be there too", func() (there bool, err error) {
		err = onStandby.QueryRow(t.Context(), "select to_regclass('scaling_activity') is not null").Scan(&there)
		return there, err
	})
	requireFault(t, runRouse(t, env, "worker", "--once"), 4, "standby", "connect to the primary")
	requireFault(t, runRouse(t, env, "append", "--count", "1"), 4, "read-only", "connect to the primary")
}

func TestMisusedCommandLines(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once") // 32 partitions from now on
	for _, tc := range []struct {
		env   []string
		args  string
		holds []string
	}{
		{nil, "worker --projection nope", []string{`"nope"`, scaling.Name}},
		{nil, "worker --worker-id 4 --total-workers 4", []string{"4", "the first worker is 0"}},
		{[]string{"WORKER_ID=web-4", "TOTAL_WORKERS=4"}, "worker", []string{"4", "the first worker is 0"}},
		{[]string{"WORKER_ID=web-x7k42", "TOTAL_WORKERS=4"}, "worker", []string{`"web-x7k42"`, "NAME-N", "StatefulSet"}},
		{[]string{"WORKER_ID=-1", "TOTAL_WORKERS=4"}, "worker", []string{`"-1"`}},
		{[]string{"TOTAL_WORKERS=4"}, "worker", []string{"WORKER_ID"}},
		{[]string{"TOTAL_WORKERS=four"}, "worker", []string{"TOTAL_WORKERS", `"four"`}},
		{nil, "worker --total-workers -1", []string{"at least one"}},
		{nil, "worker --once --partitions 64", []string{"32", "64"}},
		{nil, "worker --once --partitions 33", []string{"33", "power of two"}},
		{nil, "worker --batch-size -1", []string{"BatchSize"}},
		{nil, "worker --listen-url postgres://u:s3cret%zz@h/x", []string{"--listen-url"}},
		{nil, "worker --handler-timeout 5", []string{"--handler-timeout", "duration"}},
		{nil, "worker --frobnicate", []string{"--frobnicate", "rouse worker --help"}},
		{nil, "worker now", []string{"now", "rouse worker --help"}},
		{nil, "frobnicate", []string{"frobnicate", "rouse --help"}},
		{nil, "status --log-level loud", []string{"loud", "warn"}},
		{[]string{"ROUSE_LOG_FORMAT=xml"}, "status", []string{"xml", "pretty"}},
		{nil, "append --count -1", []string{"--count"}},
		{nil, "append --aggregates 0", []string{"--aggregates"}},
		{nil, "append --rate -1", []string{"--rate"}},
		{nil, "append --rate NaN", []string{"--rate"}},
		{nil, "append --rate Inf", []string{"--rate"}},
		{nil, "append --writers 0", []string{"--writers"}},
		{nil, "tail --count -1", []string{"--count"}},
		{nil, "worker --max-partitions 2147483648", []string{"MaxPartitions 2147483648"}},
		{[]string{"WORKER_ID=a\xff"}, "worker", []string{"name of the worker", "UTF-8"}},
		{nil, "demo --rate 0", []string{"--rate"}},
		{nil, "demo --rate NaN", []string{"--rate"}},
		{nil, "demo --rate fast", []string{"--rate", "rouse demo --help"}},
		{nil, "demo --workers 0", []string{"--workers", "32"}},
		{nil, "demo --workers 33", []string{"--workers", "32"}},
		{nil, "demo --duration -1s", []string{"--duration", "Ctrl+C"}},
		{nil, "demo --duration 10ms", []string{"--duration", "one second"}},
		{nil, "demo --duration 30", []string{"--duration", "duration"}},
		{nil, "demo --schema mine", []string{"mine", "of its own"}},
		{[]string{"ROUSE_SCHEMA=mine"}, "demo", []string{"mine", "ROUSE_SCHEMA"}},
	} {
		t.Run(strings.Join(append(tc.env, tc.args), " "), func(t *testing.T) {
			t.Parallel()
			requireFault(t, runRouse(t, append(on(db), tc.env...), strings.Fields(tc.args)...), exitUsage, tc.holds...)
		})
	}
}

// TestBadEvents: what cannot be an event is refused at the append, by SQL as by eventstore, and nothing else suffers from it.
func TestBadEvents(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "50", "--aggregates", "8")

	const insert = "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', 'bad', 1, $1, $2::text::json)"
	for _, bad := range []struct {
		eventType any
		payload   string
	}{{nil, "{}"}, {"", "{}"}, {"OrderPlaced", "no json"}, {"OrderPlaced", `{"a": }`}, {"OrderPlaced", ""}} {
		_, err := db.Pool.Exec(t.Context(), insert, bad.eventType, bad.payload)
		require.Error(t, err, "%v", bad)
	}
	require.NoError(t, pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		stream := eventstore.Stream{Type: "order", ID: "good"}
		for _, bad := range []eventstore.NewEvent{
			{Payload: json.RawMessage("{}")}, {Type: "OrderPlaced"}, {Type: "OrderPlaced", Payload: json.RawMessage("no json")},
		} {
			_, err := eventstore.Append(t.Context(), tx, stream, eventstore.Any(), bad)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
		}
		_, err := eventstore.Append(t.Context(), tx, stream, eventstore.NoStream(), eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage("{}")})
		return err
	}))

	mustRouse(t, db, "append", "--count", "50", "--aggregates", "8")
	mustRouse(t, db, "worker", "--once")
	v, err := scaling.Judge(t.Context(), db.Pool)
	require.NoError(t, err)
	assert.True(t, v.Complete(), "%+v", v)
	assert.EqualValues(t, 101, v.Counted)
}

// TestOnceWithoutARightNamesTheGrant instead of trying for ever.
func TestOnceWithoutARightNamesTheGrant(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	db := testdb.On(t, server)
	require.NoError(t, scaling.Ensure(context.Background(), db.Pool))
	mustExec(t, db.Pool, "create role app login password '"+testdb.Password+"'")
	mustExec(t, db.Pool, "grant select, insert, update, delete on all tables in schema public to app")
	mustExec(t, db.Pool, "grant select on all sequences in schema public to app")
	env := []string{"DATABASE_URL=" + testdb.As(t, db.URL, "app")}
	for _, right := range []string{"update on public.rouse_restart", "insert on public.projection_workers", "select on public.rouse_members"} {
		mustExec(t, db.Pool, "revoke "+right+" from app")
		requireFault(t, runRouse(t, env, "worker", "--once"), 1, "lacks rights", "grant "+right+" to app")
		mustExec(t, db.Pool, "grant "+right+" to app")
	}
	require.Zero(t, runRouse(t, env, "worker", "--once").code)
}

// TestOnceOnALogThatEndsBeforeItsCheckpoints: also an empty one is not a log of which everything is handled.
func TestOnceOnALogThatEndsBeforeItsCheckpoints(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "50")
	mustRouse(t, db, "worker", "--once")
	mustExec(t, db.Pool, "truncate events restart identity")
	requireFault(t, runRouse(t, on(db), "worker", "--once"), 4, "the log ends before a checkpoint")
	assert.Contains(t, mustRouse(t, db, "status"), "scalable_projection (stopped)")
}

// TestEventThatCannotBeHandled: a projection that is to stop stops before it, says so everywhere, and goes on once the cause is mended.
func TestEventThatCannotBeHandled(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	require.NoError(t, scaling.Ensure(context.Background(), db.Pool))
	mustRouse(t, db, "append", "--count", "40", "--aggregates", "4")
	mustExec(t, db.Pool, "alter table scaling_activity add constraint no_accounts check (aggregate_type <> 'account')")

	requireFault(t, runRouse(t, on(db), "worker", "--once", "--on-failure", "stop"), 5, "scalable_projection is stopped at position", "account account-00001, version 1", "no_accounts")
	status := mustRouse(t, db, "status")
	assert.Contains(t, status, "scalable_projection (stopped)")
	assert.Contains(t, status, "no_accounts")
	v, err := scaling.Judge(t.Context(), db.Pool)
	require.NoError(t, err)
	assert.True(t, v.Right(), "%+v", v)

	mustExec(t, db.Pool, "alter table scaling_activity drop constraint no_accounts")
	mustRouse(t, db, "worker", "--once")
	v, err = scaling.Judge(t.Context(), db.Pool)
	require.NoError(t, err)
	assert.True(t, v.Complete(), "%+v", v)
	assert.Contains(t, mustRouse(t, db, "status"), "scalable_projection (running)")
}

// A table that a session holds on to: migrate says whose it is while it waits, and gets through afterwards.
func TestMigrateSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	db := testdb.At(t, 7)
	holder, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), "lock table projection_workers in access share mode")
	require.NoError(t, err)
	p := startRouse(t, on(db), "migrate")
	testdb.Eventually(t, processTimeout, "the line", func() (bool, error) {
		return strings.Contains(p.Stderr.String(), "rouse: waiting: table projection_workers is in use by process "), nil
	})
	require.NoError(t, holder.Rollback(t.Context()))
	require.Zero(t, p.Wait(t))
	require.Contains(t, p.Stdout.String(), "applied ")
}
