package rouse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// What the triggers leave out to cost less is nothing that a promise needs.

// knows gives the append trigger other arguments.
func (b *bundle) knows(args string) {
	b.t.Helper()
	b.exec("create or replace trigger rouse_append_before before insert on events for each statement execute function rouse_append_before(" + args + ")")
	b.exec("alter table events enable always trigger rouse_append_before")
}

// The trigger's arguments say which sequence gives out the positions. Where they do not, as after a restore on another server, or
// where the sequence is another one by now, an open append holds its place all the same.
func TestTriggerThatDoesNotKnowTheSequenceHoldsTheHorizon(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bundle){
		"as migrated":       func(*bundle) {},
		"without arguments": func(b *bundle) { b.knows("") },
		"of another table": func(b *bundle) {
			b.exec("create sequence ahead")
			b.exec("select setval('ahead', 1000000)")
			b.knows("1, " + b.text("select 'ahead'::regclass::oid::text"))
		},
		"sequence made anew": func(b *bundle) { b.exec("alter table events alter global_position drop identity"); b.identity() },
		"sequence renamed":   func(b *bundle) { b.exec("alter sequence events_global_position_seq rename to other") },
		"another has its name": func(b *bundle) {
			b.exec("alter sequence events_global_position_seq rename to other; create sequence events_global_position_seq")
		},
		"begun anew": func(b *bundle) { b.exec("truncate events restart identity") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			conn := b.Conn(t) // which has what it has learned of the triggers from before
			const one = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				values ('thing', gen_random_uuid(), 1, 'e', '{}') returning global_position`
			_, err := conn.Exec(b.ctx, one)
			require.NoError(t, err)
			change(b)
			b.append("before")
			before := b.int("select count(*) from events")
			tx, err := conn.Begin(b.ctx)
			require.NoError(t, err)
			var slow int64
			require.NoError(t, tx.QueryRow(b.ctx, one).Scan(&slow))
			b.appendAll("after", "after")
			w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
			require.Never(t, func() bool { return int64(len(b.done("p"))) > before }, time.Second, 50*time.Millisecond, "what is above the open append must wait")
			require.NoError(t, tx.Commit(b.ctx))
			require.NoError(t, w.Drain(b.ctx))
			require.Len(t, b.done("p"), int(before)+3)
		})
	}
}

// identity gives the positions a sequence again, beyond the last of them.
func (b *bundle) identity() {
	b.t.Helper()
	b.exec("alter table events alter global_position add generated always as identity (start 100)")
}

// A writer whose search_path leads to operators, functions, types and tables of its own appends as any other does: by the
// first append of a log, in a transaction of several statements, behind a forged note and beside a process that holds S.
func TestSearchPathOfAWriterBendsNoAppend(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`do $$
		declare o record;
		begin
			create schema evil;
			for o in select p.proname as name, pg_get_function_identity_arguments(p.oid) as args, p.prorettype::regtype as result
				from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('current_setting', 'set_config', 'pg_sequence_last_value',
				'pg_relation_filenode', 'random', 'pg_notify', 'current_database', 'pg_advisory_unlock', 'pg_advisory_unlock_shared',
				'pg_try_advisory_lock', 'pg_try_advisory_lock_shared', 'pg_try_advisory_xact_lock_shared', 'encode', 'int2send', 'int4send', 'int8send',
				'uuid_send', 'timestamptz_send', 'octet_length', 'sha256', 'convert_to', 'pg_postmaster_start_time',
				'pg_stat_get_bgwriter_stat_reset_time') loop
				execute format('create function evil.%I(%s) returns %s language plpgsql as ''begin raise exception $x$bent by %s$x$; end''', o.name, o.args, o.result, o.name);
			end loop;
			for o in select p.oid::text as id, p.oprname as name, p.oprleft::regtype as l, p.oprright::regtype as r, p.oprresult::regtype as result
				from pg_operator p where p.oprnamespace = 'pg_catalog'::regnamespace and p.oprname in ('=', '<>', '<', '>', '~', '||', '&', '|', '<<', '>>', '-', '*')
				and p.oprleft = any ('{text,bigint,int,smallint,oid,name,"\"char\"",float8,anynonarray,bytea}'::regtype[])
				and p.oprright = any ('{text,bigint,int,smallint,oid,name,"\"char\"",float8,anynonarray,bytea}'::regtype[]) loop
				execute format('create function evil.op%s(%s, %s) returns %s language plpgsql as ''begin raise exception $x$bent by %s$x$; end''', o.id, o.l, o.r, o.result, o.name);
				execute format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.op%s)', o.name, o.l, o.r, o.id);
			end loop;
			create domain evil.text as pg_catalog.int4;
			create domain evil.oid as pg_catalog.text;
			create domain evil.regclass as pg_catalog.int4;
			create table evil.pg_depend (n int);
			create table evil.pg_locks (n int);
			create table evil.pg_database (n int);
			create table evil.rouse_push_key (n int);
			create table evil.appended (n int);
			create table evil.rouse_incarnation (n int);
			create function evil.pg_column_size(pg_catalog.json) returns int language sql as 'select 1 / 0';
			create function evil.count(pg_catalog.text) returns int language sql as 'select 1 / 0';
			create function evil.string_agg(pg_catalog.text, pg_catalog.text) returns int language sql as 'select 1 / 0';
			create function evil.sum(int) returns int language sql as 'select 1 / 0';
			create function evil.format(pg_catalog.text, pg_catalog.name) returns int language sql as 'select 1 / 0';
		end $$`)
	require.Greater(t, b.int("select count(*) from pg_operator where oprnamespace = 'evil'::regnamespace"), int64(30), "or nothing is shown")
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, "set search_path = evil, pg_catalog, public")
	require.NoError(t, err)
	version := 0
	appends := func(name string) {
		t.Helper()
		version++
		_, err := conn.PgConn().Exec(b.ctx, fmt.Sprintf(`insert into public.events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('t', 'a', %d, 'e', '{}')`, version)).ReadAll()
		require.NoError(t, err, name)
	}
	holds := func(sql string) *pgx.Conn {
		t.Helper()
		other := b.Conn(t)
		_, err := other.Exec(b.ctx, "select "+sql+"(1919907155, ('events'::regclass::oid::bigint)::int)")
		require.NoError(t, err)
		return other
	}
	text := func(sql string) {
		t.Helper()
		_, err := conn.PgConn().Exec(b.ctx, sql).ReadAll()
		require.NoError(t, err)
	}
	appends("the first of the log")
	appends("the next")
	text("begin; set local synchronous_commit = off")
	appends("the first of a transaction")
	appends("the second")
	text("select pg_catalog.set_config('rouse.lw_' operator(pg_catalog.||) 'public.events'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text, '1', true)")
	appends("behind a forged note")
	text("commit")
	b.knows("")
	appends("without arguments")
	sleeper := holds("pg_advisory_lock_shared")
	appends("beside a sleeper")
	require.NoError(t, sleeper.Close(b.ctx))
	stranger := holds("pg_advisory_lock")
	appends("beside a stranger")
	require.NoError(t, stranger.Close(b.ctx))
	b.carry(true)
	appends("carrying, where nobody sleeps")
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	require.NoError(t, w.Drain(b.ctx))
	testdb.Eventually(t, patience, "the worker to be armed", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	ears := b.Conn(t)
	_, err = ears.Exec(b.ctx, "listen rouse_"+b.text("select 'events'::regclass::oid::text"))
	require.NoError(t, err)
	appends("carrying")
	push, err := ears.WaitForNotification(b.ctx)
	require.NoError(t, err)
	require.NotEmpty(t, push.Payload)
	require.NoError(t, w.Drain(b.ctx))
	require.Len(t, b.done("p"), version)
}
