//go:build unix

package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// office is a database in which each program has a role of its own, as docs/deployment.md sets it up: the owner's, one that
// appends, one that works and one that looks.
type office struct {
	t      *testing.T
	ctx    context.Context
	binary string
	url    string // of the superuser
	roles  string // deploy/sql/roles.sql
	pool   *pgxpool.Pool
}

func newOffice(t *testing.T) *office {
	t.Helper()
	server := testdb.Server(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	t.Cleanup(cancel)
	require.NoError(t, server.CreateDatabase(ctx, "shop"))
	o := &office{t: t, ctx: ctx, binary: checkout.Rouse(t), url: server.URL("shop")}
	var err error
	o.pool, err = pgxpool.New(ctx, o.as("postgres"))
	require.NoError(t, err)
	t.Cleanup(o.pool.Close)
	const login = " login password '" + testdb.Password + "'"
	o.script("create role shop_owner" + login + "; create schema rouse authorization shop_owner")
	o.must("shop_owner", "migrate")
	o.must("shop_owner", "worker", "--once") // makes the table of the built-in projection
	o.roles = readText(t, checkout.Root(t), "deploy", "sql", "roles.sql")
	o.script(o.roles)
	o.script(o.roles) // it may be run again
	o.script("create role shop_appender" + login + " in role rouse_appender; create role shop_worker" + login + " in role rouse_worker;" +
		"create role shop_reader" + login + " in role rouse_reader")
	return o
}

// as is the address of a role.
func (o *office) as(role string) string {
	address := o.url
	if role != "postgres" {
		address = testdb.As(o.t, o.url, role)
	}
	return address + "&search_path=rouse"
}

func (o *office) script(sql string) {
	o.t.Helper()
	require.NoError(o.t, o.pool.AcquireFunc(o.ctx, func(conn *pgxpool.Conn) error {
		_, err := conn.Conn().PgConn().Exec(o.ctx, sql).ReadAll()
		return err
	}), sql)
}

func (o *office) command(role string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(o.ctx, o.binary, args...)
	cmd.Env = append(append(os.Environ(), "DATABASE_URL="+o.as(role)), env...)
	return cmd
}

// must runs a command to its end, which has to be a good one.
func (o *office) must(role string, args ...string) string {
	o.t.Helper()
	out, err := o.command(role, nil, args...).CombinedOutput()
	require.NoError(o.t, err, "%v as %s: %s", args, role, out)
	return string(out)
}

// officeWorker is a `rouse worker` that runs.
type officeWorker struct {
	cmd *exec.Cmd
	log bytes.Buffer // to be read after its end
}

func (o *office) hire(label string) *officeWorker {
	o.t.Helper()
	w := &officeWorker{cmd: o.command("shop_worker", []string{"WORKER_ID=" + label}, "worker", "--retries", "1")}
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	require.NoError(o.t, w.cmd.Start())
	o.t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			_ = w.cmd.Process.Kill()
			_ = w.cmd.Wait()
		}
		if o.t.Failed() {
			o.t.Logf("%s:\n%s", label, &w.log)
		}
	})
	return w
}

func (o *office) eventually(what, sql string, args ...any) {
	o.t.Helper()
	testdb.Eventually(o.t, patience, what, func() (ok bool, err error) {
		return ok, o.pool.QueryRow(o.ctx, sql, args...).Scan(&ok)
	})
}

// shared waits until so many workers have even shares of all partitions.
func (o *office) shared(workers int) {
	o.t.Helper()
	o.eventually("even shares", `select count(*) = $1 and bool_and(owner is not null) and max(n) - min(n) <= 1 from (
		select owner, count(*) as n from projection_checkpoints where projection_name = 'scalable_projection' group by owner) s`, workers)
}

// exact waits until all events were handled, each once and in order, but for those that are parked.
func (o *office) exact() {
	o.t.Helper()
	o.eventually("the last event to be handled", `select bool_and(last_global_position = (select max(global_position) from events))
		from projection_checkpoints where projection_name = 'scalable_projection'`)
	verdict, err := scaling.Judge(o.ctx, o.pool)
	require.NoError(o.t, err)
	require.True(o.t, verdict.Complete(), "%+v", verdict)
}

// TestRoles: what the three roles of deploy/sql/roles.sql may do is enough, and no more than that.
func TestRoles(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.areEnough()
	o.mayThis()
	o.mayNoMore()
	o.isForItsRolesOnly()
	o.showsSessionsToNobody()
	o.showTheLag()
	o.showThePage()
	o.letEventsGo()
}

// areEnough: everything that a fleet goes through works under these roles: sharing, an event that fails, pausing, another number
// of partitions, death, and fixed shares by the names of pods.
func (o *office) areEnough() {
	t := o.t
	t.Helper()
	doctor := o.must("shop_worker", "doctor")
	for _, check := range []string{"rights", "role", "access", "encryption"} {
		assert.Regexp(t, `(?m)^ok +`+check+` `, doctor)
	}
	o.must("shop_appender", "append", "--count", "300")
	first, second := o.hire("first"), o.hire("second")
	o.shared(2)
	o.must("shop_appender", "append", "--count", "300")
	o.exact()

	// An event that fails is parked under the worker's role, and handled under it once the cause is gone.
	o.script("alter table scaling_activity add constraint fails check (aggregate_id <> 'bad')")
	appender, err := pgx.Connect(o.ctx, o.as("shop_appender"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = appender.Close(context.Background()) })
	for _, aggregate := range []string{"bad", "good", "bad"} {
		_, err := appender.Exec(o.ctx, appendSQL, aggregate, 1)
		require.NoError(t, err)
	}
	o.eventually("both to be parked", "select count(*) = 2 from parked_events")
	o.eventually("others to flow on", "select exists (select from scaling_activity where aggregate_id = 'good')")
	assert.Contains(t, o.must("shop_reader", "status"), "parked")
	assert.Contains(t, o.must("shop_worker", "parked", "list"), "thing/bad")
	o.script("alter table scaling_activity drop constraint fails")
	o.must("shop_worker", "parked", "retry", "--all", "--wait", "30s")
	o.exact()

	o.must("shop_worker", "projection", "pause", scaling.Name)
	o.must("shop_worker", "projection", "resume", scaling.Name)
	o.must("shop_worker", "projection", "reset", scaling.Name, "--to", "0")
	o.must("shop_worker", "projection", "create", "mails", "--from", "now")
	o.exact()
	for _, partitions := range []string{"64", "16"} {
		o.must("shop_owner", "projection", "resize", "--partitions", partitions, scaling.Name)
	}

	require.NoError(t, first.cmd.Process.Kill())
	_ = first.cmd.Wait()
	o.shared(1)
	o.must("shop_appender", "append", "--count", "300")
	o.exact()
	require.NoError(t, second.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, second.cmd.Wait(), "it stops in order")

	o.must("shop_appender", "append", "--count", "300")
	for _, pod := range []string{"rouse-worker-0", "rouse-worker-1"} {
		out, err := o.command("shop_worker", []string{"WORKER_ID=" + pod, "TOTAL_WORKERS=2"}, "worker", "--once").CombinedOutput()
		require.NoError(t, err, "%s: %s", pod, out)
	}
	o.exact()
	assert.Contains(t, o.must("shop_reader", "status"), "lag 0 events")
}

// mayThis: what docs/security.md says that a role can do beside its own work.
func (o *office) mayThis() {
	t := o.t
	t.Helper()
	for role, statements := range map[string][]string{
		"shop_appender": {
			"select payload, metadata from events limit 1", "select version from rouse_migrations", "select entry from event_tags limit 1",
			"insert into event_tags (tag, event_id) select 'course:1', event_id from events limit 1",
		},
		"shop_worker": {
			"select payload, metadata from events limit 1", "update projection_checkpoints set last_global_position = 0", "delete from parked_events",
			"delete from event_attempts", "update projections set state = 'paused'", "delete from projection_workers", "delete from scaling_activity",
			"select pg_advisory_lock_shared(1)", "select pg_notify('x', 'y')",
		},
		"shop_reader": {
			"select payload, metadata from events limit 1", "select last_error from parked_events limit 1", "select last_error from projections",
			"select owner from projection_checkpoints", "select label, host from projection_workers", "select * from scaling_activity limit 1",
		},
	} {
		conn, err := pgx.Connect(o.ctx, o.as(role))
		require.NoError(t, err)
		for _, sql := range statements {
			tx, err := conn.Begin(o.ctx)
			require.NoError(t, err)
			_, err = tx.Exec(o.ctx, sql)
			assert.NoError(t, err, "%s: %s", role, sql)
			require.NoError(t, tx.Rollback(o.ctx))
		}
		require.NoError(t, conn.Close(o.ctx))
	}

	worker, err := pgx.Connect(o.ctx, o.as("shop_worker"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = worker.Close(context.Background()) })
	ends := func(role string) error {
		t.Helper()
		other, err := pgx.Connect(o.ctx, o.as(role))
		require.NoError(t, err)
		t.Cleanup(func() { _ = other.Close(context.Background()) })
		_, err = worker.Exec(o.ctx, "select pg_terminate_backend($1)", int32(other.PgConn().PID()))
		return err
	}
	require.NoError(t, ends("shop_worker"), "workers end the sessions of one that is frozen")
	for _, role := range []string{"shop_appender", "shop_reader", "shop_owner"} {
		var refused *pgconn.PgError
		require.ErrorAs(t, ends(role), &refused, role)
		assert.Equal(t, "42501", refused.Code)
	}
}

// mayNoMore: what each role has no business with is refused.
func (o *office) mayNoMore() {
	t := o.t
	t.Helper()
	const event = "'thing', 't', 1, 'happened', '{}')"
	for role, statements := range map[string][]string{
		"shop_appender": {
			"update events set payload = '{}'", "delete from events", "truncate events", "drop table events",
			"alter table events disable trigger user", "create table rouse.mine (n int)",
			"insert into events (global_position, aggregate_type, aggregate_id, aggregate_version, event_type, payload) overriding system value values (1, " + event,
			"insert into events (created_at, aggregate_type, aggregate_id, aggregate_version, event_type, payload) values (now(), " + event,
			"select nextval('events_global_position_seq')", "select setval('events_global_position_seq', 1)",
			"select from projections", "update projections set state = 'paused'",
			"select from projection_checkpoints", "update projection_checkpoints set last_global_position = 0",
			"select from projection_workers", "select from parked_events", "delete from parked_events", "select from event_attempts", "select from rouse_push_key",
			"update rouse_incarnation set token = gen_random_uuid()", "update rouse_restart set at = now()",
			"insert into rouse_migrations values (99)", "select from scaling_activity",
			"insert into event_tags (tag, entry, event_id) values ('course:1', 1, gen_random_uuid())", "update event_tags set tag = 'x'", "delete from event_tags",
			"select nextval('event_tags_entry_seq')", "alter table event_tags disable trigger user",
		},
		"shop_worker": {
			"insert into event_tags (tag, event_id) values ('course:1', gen_random_uuid())",
			"insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values (" + event,
			"update events set payload = '{}'", "delete from events", "truncate events", "drop table events",
			"alter table events disable trigger user", "create table rouse.mine (n int)",
			"select nextval('events_global_position_seq')", "select setval('events_global_position_seq', 1)",
			"delete from projections", "insert into retired_projections (projection_name) values ('mails')", "delete from retired_projections",
			"delete from projection_checkpoints", "truncate projection_checkpoints", "delete from rouse_push_key",
			"update rouse_incarnation set token = gen_random_uuid()", "delete from rouse_incarnation", "delete from rouse_restart",
			"insert into rouse_migrations values (99)", "delete from rouse_migrations", "alter table scaling_activity add x int",
		},
		"shop_reader": {
			"insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values (" + event,
			"delete from events", "update projections set state = 'paused'", "update projection_checkpoints set last_global_position = 0",
			"delete from projection_workers", "delete from parked_events", "select from event_attempts", "select from rouse_incarnation", "select from rouse_push_key",
			"delete from scaling_activity", "create table rouse.mine (n int)", "select setval('events_global_position_seq', 1)",
		},
	} {
		conn, err := pgx.Connect(o.ctx, o.as(role))
		require.NoError(t, err)
		for _, sql := range statements {
			_, err := conn.Exec(o.ctx, sql)
			var refused *pgconn.PgError
			if assert.ErrorAs(t, err, &refused, "%s: %s", role, sql) {
				assert.Equal(t, "42501", refused.Code, "%s: %s: %s", role, sql, refused.Message)
			}
		}
		require.NoError(t, conn.Close(o.ctx))
	}
	for _, role := range []string{"rouse_appender", "rouse_worker", "rouse_reader"} {
		o.script("alter role " + role + " password '" + testdb.Password + "'")
		_, err := pgx.Connect(o.ctx, o.as(role))
		assert.ErrorContains(t, err, "not permitted to log in", "they are for others to be members of")
	}
}

// isForItsRolesOnly checks that no other role connects to the database unless it is granted CONNECT.
func (o *office) isForItsRolesOnly() {
	t := o.t
	t.Helper()
	o.script("create role mallory login password '" + testdb.Password + "'")
	_, err := pgx.Connect(o.ctx, o.as("mallory"))
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "42501", refused.Code, refused.Message)
	o.script("grant connect on database shop to mallory")
	o.script(o.roles)
	conn, err := pgx.Connect(o.ctx, o.as("mallory"))
	require.NoError(t, err, "what was granted stays")
	require.NoError(t, conn.Close(o.ctx))

	o.script("create role elsewhere login")
	o.script("grant connect on database shop to public")
	var notices []string
	cfg, err := pgx.ParseConfig(o.as("postgres"))
	require.NoError(t, err)
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message) }
	owner, err := pgx.ConnectConfig(o.ctx, cfg)
	require.NoError(t, err)
	_, err = owner.PgConn().Exec(o.ctx, o.roles).ReadAll()
	require.NoError(t, err)
	require.NoError(t, owner.Close(o.ctx))
	assert.Equal(t, []string{"these roles can log in, but not to this database any more: elsewhere"}, notices)
}

// showsSessionsToNobody: what others do, in this database and elsewhere, is shown to a reader that was given the right to see it.
func (o *office) showsSessionsToNobody() {
	t := o.t
	t.Helper()
	const secret = "s3cret-literal"
	other, err := pgx.Connect(o.ctx, strings.Replace(o.as("postgres"), "/shop", "/postgres", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	_, err = other.Exec(o.ctx, "select '"+secret+"'", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	sees := func(role string) (n int) {
		t.Helper()
		conn, err := pgx.Connect(o.ctx, o.as(role))
		require.NoError(t, err)
		defer func() { _ = conn.Close(o.ctx) }()
		require.NoError(t, conn.QueryRow(o.ctx, "select count(*) from pg_stat_activity where query = $1", "select '"+secret+"'").Scan(&n))
		return n
	}
	require.Equal(t, 1, sees("postgres"))
	for _, role := range []string{"shop_appender", "shop_worker", "shop_reader"} {
		assert.Zero(t, sees(role), role)
	}
	o.script("set rouse.reader_sees_sessions = on; " + o.roles + "; reset rouse.reader_sees_sessions")
	assert.Equal(t, 1, sees("shop_reader"), "it was asked for")
	assert.Zero(t, sees("shop_worker"))
	o.script(o.roles)
	assert.Equal(t, 1, sees("shop_reader"), "what was asked for stays")
	o.script("revoke pg_read_all_stats from rouse_reader")
}

// showTheLag: what the example that scales on the lag asks for works under the reader's role, and is the lag in events.
func (o *office) showTheLag() {
	t := o.t
	t.Helper()
	query := scalerQuery(t)
	conn, err := pgx.Connect(o.ctx, o.as("shop_reader"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	lag := func() (n int64) {
		require.NoError(t, conn.QueryRow(o.ctx, query).Scan(&n))
		return n
	}
	assert.Zero(t, lag())
	o.must("shop_appender", "append", "--count", "300")
	assert.EqualValues(t, 300, lag())
	o.must("shop_worker", "worker", "--once")
	testdb.Eventually(t, patience, "the lag to be gone", func() (bool, error) { return lag() == 0, nil })
}

// showThePage: the dashboard shows everything under the reader's role, and acts under the worker's.
func (o *office) showThePage() {
	t := o.t
	t.Helper()
	for role, status := range map[string]int{"shop_reader": http.StatusForbidden, "shop_worker": http.StatusOK} {
		pool, err := pgxpool.New(o.ctx, o.as(role))
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		d := dashboard.New(dashboard.Config{Pool: pool, Token: "t"})
		server := httptest.NewServer(d)
		t.Cleanup(server.Close)
		t.Cleanup(d.Close)
		ask := func(method, path, body string) *http.Response {
			r, err := http.NewRequestWithContext(o.ctx, method, server.URL+path, strings.NewReader(body))
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer t")
			resp, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			t.Cleanup(func() { _ = resp.Body.Close() })
			return resp
		}
		lines := bufio.NewScanner(ask("GET", "/events", "").Body)
		for lines.Scan() && !strings.Contains(lines.Text(), `"database"`) {
		}
		assert.Contains(t, lines.Text(), `"name":"`+scaling.Name+`"`, role)
		for _, action := range []string{"pause", "resume"} {
			assert.Equal(t, status, ask("POST", "/"+action, `{"projection":"`+scaling.Name+`"}`).StatusCode, role)
		}
	}
}
