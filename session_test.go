package rouse_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// These tests are of what handlers, roles, databases and addresses make of a session. The worker's own statements do not mind.

// bothForms runs a test with a handler that sends statements by single events, and with one that queues them.
func bothForms(t *testing.T, of func(t *testing.T, make func(statements func(ev eventstore.Event) []string) rouse.Projection)) {
	t.Helper()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		of(t, func(statements func(ev eventstore.Event) []string) rouse.Projection {
			return projection{name: "p", hook: sent(statements)}
		})
	})
	t.Run("batch", func(t *testing.T) {
		t.Parallel()
		of(t, func(statements func(ev eventstore.Event) []string) rouse.Projection {
			return batched{projection: projection{name: "p", hook: sent(statements)}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
				for _, sql := range statements(ev) {
					batch.Queue(sql)
				}
				return nil
			}}
		})
	})
}

// sent is a hook that sends statements.
func sent(statements func(ev eventstore.Event) []string) func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	return func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		for _, sql := range statements(ev) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
}

// What a handler leaves on its session does not bend a statement of the worker's, and does not come back to the pool.
func TestWhatAHandlerMakesOfItsSessionIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"a temporary table with the name of the log":         {"create temp table if not exists events (like public.events)"},
		"a temporary table with the name of the checkpoints": {"create temp table if not exists projection_checkpoints (n int)"},
		"a search_path":                        {"set search_path = tenant, public"},
		"a search_path of the transaction":     {"set local search_path = tenant, public"},
		"a search_path with tables of Rouse's": {"set search_path = second, public"},
		"a role":                               {"set role ROLE"},
		"a role of the transaction":            {"set local role ROLE"},
		"limits":                               {"set statement_timeout = '2s'", "set lock_timeout = '1ms'", "set idle_in_transaction_session_timeout = '2s'"},
		"read-only defaults":                   {"set default_transaction_read_only = on", "set default_transaction_isolation = serializable"},
		"dates":                                {"set datestyle = 'German'", "set intervalstyle = 'sql_standard'", "set bytea_output = 'escape'", "set timezone = 'Asia/Kathmandu'"},
		"a lock and a channel":                 {"select pg_advisory_lock(4711)", "listen something"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothForms(t, func(t *testing.T, make func(func(eventstore.Event) []string) rouse.Projection) {
				b := setup(t)
				role := b.Name + "_tenant"
				b.exec("create role " + role)
				t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
				b.exec("grant select, insert on done to " + role)
				b.exec("grant usage on schema public to " + role)
				b.exec("create schema tenant")
				b.exec("create table tenant.events (id int)")
				b.exec("create schema second")
				b.exec("create table second.projection_checkpoints (like public.projection_checkpoints)")
				b.exec("create table second.events (like public.events)")
				pool := b.pool(pgx.QueryExecModeCacheStatement)
				p := make(func(ev eventstore.Event) []string {
					if ev.Type != "bends" {
						return nil
					}
					var sql []string
					for _, s := range statements {
						sql = append(sql, replaceRole(s, role))
					}
					return sql
				})
				w := b.start(pool, rouse.Config{Projections: []rouse.Projection{p}, BatchSize: 3}).WaitStarted()
				var want []int64
				for range 5 {
					want = append(want, b.append("e"), b.append("bends"), b.append("e"))
					require.NoError(t, w.Drain(b.ctx))
				}
				require.Equal(t, want, b.done("p"))
				require.Zero(t, b.int("select count(*) from parked_events")+b.int("select count(*) from event_attempts"))
				testdb.Eventually(t, patience, "all checkpoints to be at the end", func() (bool, error) {
					return b.int("select count(*) from projection_checkpoints where last_global_position < $1", want[14]) == 0, nil
				})
				b.unbent(pool)
			})
		})
	}
}

// A connection on which a handler has left another encoding and other dates is read from as any other: what is
// known of it follows the session.
func TestEventsAreReadAsTheyAreWhateverEncodingAHandlerLeaves(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			cfg, err := pgxpool.ParseConfig(b.URL)
			require.NoError(t, err)
			cfg.ConnConfig.DefaultQueryExecMode, cfg.MaxConns = mode, 3
			pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
			require.NoError(t, err)
			defer pool.Close()
			const payload = `{"text": "naïve"}`
			var times []time.Time
			var read []string
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
				if ev.Type != "bends" {
					times, read = append(times, ev.CreatedAt), append(read, ev.AggregateID+" "+string(ev.Payload))
				}
				_, err := tx.Exec(ctx, "set client_encoding = 'LATIN1'; set datestyle = 'German'")
				return err
			}}}}).WaitStarted()
			var want []time.Time
			for version := range 4 {
				b.append("bends")
				require.NoError(t, w.Drain(b.ctx))
				var at time.Time
				require.NoError(t, b.Pool.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
					values ('a', 'naïve', $1, 'e', $2) returning created_at`, version+1, payload).Scan(&at))
				want = append(want, at)
				require.NoError(t, w.Drain(b.ctx))
			}
			require.NoError(t, w.Stop())
			require.Len(t, times, len(want))
			for i := range want {
				require.True(t, want[i].Equal(times[i]), "%s, and not %s", want[i], times[i])
				require.Equal(t, "naïve "+payload, read[i])
			}
			require.Zero(t, b.int("select count(*) from parked_events")+b.int("select count(*) from event_attempts"))
		})
	}
}

func replaceRole(sql, role string) string {
	if sql == "set role ROLE" || sql == "set local role ROLE" {
		return sql[:len(sql)-4] + role
	}
	return sql
}

// unbent looks at every idle connection of a pool: none is bent.
func (b *bundle) unbent(pool *pgxpool.Pool) {
	b.t.Helper()
	for _, conn := range pool.AcquireAllIdle(b.ctx) {
		defer conn.Release()
		var role, path string
		var tables, channels, locks int
		err := conn.QueryRow(b.ctx, `select current_setting('role'), current_setting('search_path'),
			(select count(*) from pg_class where relnamespace = pg_my_temp_schema()), (select count(*) from pg_listening_channels()),
			(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())`).Scan(&role, &path, &tables, &channels, &locks)
		require.NoError(b.t, err)
		require.Equal(b.t, fmt.Sprint("none", `"$user", public`, 0, 0, 0), fmt.Sprint(role, path, tables, channels, locks))
	}
}

// A handler that ends its transaction by a statement is to blame, and nothing of the others is lost or done twice.
func TestHandlerThatEndsItsTransactionByAStatementIsToBlame(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"rollback":           {"rollback"},
		"rollback and chain": {"rollback and chain"},
		"rollback; begin":    {"rollback", "begin"},
		"commit":             {"commit"},
		"commit and chain":   {"commit and chain"},
		"read only":          {"set transaction read only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothForms(t, func(t *testing.T, make func(func(eventstore.Event) []string) rouse.Projection) {
				b := setup(t)
				p := make(func(ev eventstore.Event) []string {
					if ev.Type == "bad" {
						return statements
					}
					return nil
				})
				at := b.appendAll("good", "good", "bad", "good", "good")
				require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
				good := []int64{at[0], at[1], at[3], at[4]}
				done := slices.DeleteFunc(b.done("p"), func(position int64) bool { return position == at[2] }) // what it did outside is its own
				require.Subset(t, done, good, "nothing is lost")
				if !strings.HasPrefix(name, "commit") { // what was committed cannot be taken back
					require.ElementsMatch(t, good, done)
				}
				require.EqualValues(t, at[2], b.int("select global_position from parked_events"))
				if name != "read only" { // of which the handler's own statements are told
					require.EqualValues(t, 1, b.int("select attempts from parked_events"), "trying again mends nothing")
				}
				require.Regexp(t, "must not|read-only", b.text("select last_error from parked_events"))
			})
		})
	}
}

// A statement behind one that has ended the transaction would commit by itself, once for each try. It is refused, in a savepoint too.
func TestHandlerWritesNothingBehindTheEndOfItsTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("e")
	const ghost = "insert into done (projection, position) values ('ghost', 1)"
	var behind []error
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p",
		hook: func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
			savepoint, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "rollback"); err != nil {
				return err
			}
			for _, of := range []pgx.Tx{tx, savepoint} {
				_, err := of.Exec(ctx, ghost)
				behind = append(behind, err)
			}
			return nil
		}}}}))
	require.Len(t, behind, 2)
	for _, err := range behind {
		require.ErrorContains(t, err, "must not commit or roll back")
	}
	require.Zero(t, b.int("select count(*) from done where projection = 'ghost'"))
	require.EqualValues(t, 1, b.int("select count(*) from parked_events"))
}

// A goroutine that a handler leaves behind cannot write through the transaction any more.
func TestTransactionIsRefusedOnceTheHandlerHasReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("e")
	var kept pgx.Tx
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p",
		hook: func(_ context.Context, tx pgx.Tx, _ eventstore.Event) error { kept = tx; return nil }}}}))
	_, err := kept.Exec(b.ctx, "insert into done (projection, position) values ('ghost', 1)")
	require.ErrorContains(t, err, "after the handler has returned")
	require.ErrorContains(t, kept.QueryRow(b.ctx, "select 1").Scan(new(int)), "after the handler has returned")
	require.ErrorContains(t, kept.SendBatch(b.ctx, &pgx.Batch{}).Close(), "after the handler has returned")
	_, err = kept.Begin(b.ctx)
	require.ErrorContains(t, err, "after the handler has returned")
	require.Zero(t, b.int("select count(*) from done where projection = 'ghost'"))
}

// settings are what role, database or address can carry, each at a value that would break a worker that minds it.
var settings = []struct{ name, value string }{
	{"statement_timeout", "1s"}, {"lock_timeout", "1ms"}, {"idle_in_transaction_session_timeout", "500ms"}, {"idle_session_timeout", "700ms"},
	{"transaction_timeout", "2s"}, {"temp_file_limit", "64kB"},
	{"datestyle", "German"}, {"intervalstyle", "sql_standard"}, {"client_encoding", "LATIN1"}, {"bytea_output", "escape"},
	{"timezone", "Asia/Kathmandu"}, {"extra_float_digits", "-15"}, {"standard_conforming_strings", "off"},
	{"default_transaction_isolation", "serializable"}, {"default_transaction_read_only", "on"}, {"default_transaction_deferrable", "on"},
	{"row_security", "off"}, {"synchronous_commit", "off"}, {"session_replication_role", "replica"}, {"search_path", "other, public"},
}

// Whatever a role carries, in every way in which pgx sends statements: all promises hold, or the start is refused with a sentence.
func TestSettingsOfTheRoleBreakNoPromise(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create schema other")
			role := b.Name + "_worker"
			b.exec("create role " + role + " login superuser password '" + testdb.Password + "'")
			t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
			for _, setting := range settings {
				if b.int("select count(*) from pg_settings where lower(name) = $1", setting.name) == 0 {
					continue // an older server
				}
				b.exec("alter role " + role + " set " + setting.name + " = " + quoted(setting.value))
				b.keepsItsPromises(role, mode, setting.name)
				b.exec("alter role " + role + " reset all")
			}
		})
	}
}

// keepsItsPromises runs a worker of a role, with a projection of each form, that is pushed and catches up.
func (b *bundle) keepsItsPromises(role string, mode pgx.QueryExecMode, setting string) {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.User, cfg.ConnConfig.Password = role, testdb.Password
	cfg.ConnConfig.DefaultQueryExecMode, cfg.MaxConns = mode, 6
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	defer pool.Close()
	each, all := "each under "+setting, "all under "+setting
	slow := func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "slow" {
			return nil
		}
		_, err := tx.Exec(ctx, "select pg_sleep(0.1)")
		return err
	}
	config := rouse.Config{Projections: []rouse.Projection{projection{name: each, hook: slow}, batched{projection: projection{name: all}}}}
	if mode == pgx.QueryExecModeSimpleProtocol && (setting == "client_encoding" || setting == "standard_conforming_strings") {
		worker, err := rouse.New(pool, config)
		require.NoError(b.t, err)
		require.ErrorContains(b.t, worker.Run(b.ctx), "the simple protocol needs "+setting)
		return
	}
	w := b.start(pool, config).WaitStarted()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('日本', 'naïve', (select count(*) + 1 from events), 'e', '{"text": "日本"}')`)
	b.append("slow")
	require.NoError(b.t, w.Drain(b.ctx), setting)
	b.append("e")
	require.NoError(b.t, w.Drain(b.ctx), setting)
	require.NoError(b.t, w.Stop())
	require.Len(b.t, b.done(each), int(b.int("select count(*) from events")), setting)
	require.Equal(b.t, b.done(each), b.done(all))
	require.Zero(b.t, b.int("select count(*) from event_attempts"), setting)
}

// quoted is a value as ALTER ROLE takes it; a list stays one.
func quoted(value string) string {
	if strings.Contains(value, ",") {
		return value
	}
	return "'" + value + "'"
}
