package migrations_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

func TestMain(m *testing.M) { testdb.Main(m) }

type bundle struct {
	*testdb.DB
	ctx  context.Context
	t    *testing.T
	conn *pgx.Conn
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	db := testdb.Empty(t)
	return &bundle{DB: db, ctx: ctx, t: t, conn: db.Conn(t)}
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.conn.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) int(sql string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.conn.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

func (b *bundle) up() int {
	b.t.Helper()
	applied, err := migrations.Up(b.ctx, b.conn)
	require.NoError(b.t, err)
	return applied
}

func TestUpBringsEverythingOnceAndOnlyOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.ErrorIs(t, migrations.Check(b.ctx, b.conn), migrations.ErrMissing)
	require.Equal(t, migrations.Latest(), b.up())
	require.NoError(t, migrations.Check(b.ctx, b.conn))
	before := b.int("select count(*) from pg_class")
	require.Zero(t, b.up(), "a second time there is nothing to do")
	require.Equal(t, before, b.int("select count(*) from pg_class"))
	version, oldest, err := migrations.Version(b.ctx, b.conn)
	require.NoError(t, err)
	require.Equal(t, migrations.Latest(), version)
	require.LessOrEqual(t, oldest, version)
	require.Equal(t, 2, b.int("select count(*) from pg_trigger where tgrelid = 'events'::regclass and tgenabled = 'A' and not tgisinternal"))
}

func TestManyProcessesMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const processes = 8
	applied, errs := make([]int, processes), make([]error, processes)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range processes {
		conn := b.Conn(t)
		wg.Go(func() {
			<-start
			applied[i], errs[i] = migrations.Up(b.ctx, conn)
		})
	}
	close(start)
	wg.Wait()
	total := 0
	for i := range processes {
		require.NoError(t, errs[i])
		total += applied[i]
	}
	require.Equal(t, migrations.Latest(), total, "one of them did it")
	require.NoError(t, migrations.Check(b.ctx, b.conn))
}

// A schema that is current costs no lock, so a fleet that starts does not queue behind one that migrates something else.
func TestCurrentSchemaIsLookedAtWithoutALock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	held, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	_, err = held.Exec(b.ctx, "select pg_advisory_xact_lock(1919907149, hashtext('public'))")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	applied, err := migrations.Up(ctx, b.conn)
	require.NoError(t, err)
	require.Zero(t, applied)
	require.NoError(t, held.Rollback(b.ctx))
}

// Locked lets one process at a time create what several would create at once.
func TestLockedRunsOneAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		conn := b.Conn(t)
		wg.Go(func() {
			errs[i] = migrations.Locked(b.ctx, conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(b.ctx, "create table if not exists made_once (n int)") // fails if two do it at once
				return err
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func TestCheckTellsOlderFromNewer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	latest := migrations.Latest()

	b.exec("insert into rouse_migrations (version, name, oldest_binary) values ($1, 'next', $2)", latest+1, latest)
	require.NoError(t, migrations.Check(b.ctx, b.conn), "the previous binary works on the next schema")
	require.Zero(t, b.up(), "and leaves it alone")

	b.exec("insert into rouse_migrations (version, name, oldest_binary) values ($1, 'breaking', $2)", latest+2, latest+2)
	err := migrations.Check(b.ctx, b.conn)
	require.ErrorIs(t, err, migrations.ErrNewer)
	require.ErrorContains(t, err, "deploy a newer rouse")
	b.exec("insert into rouse_migrations (version, name, oldest_binary) values ($1, 'harmless again', $2)", latest+3, latest)
	require.ErrorIs(t, migrations.Check(b.ctx, b.conn), migrations.ErrNewer, "a later migration does not make an earlier one harmless")
	require.Zero(t, b.up())

	b.exec("delete from rouse_migrations where version >= $1", latest)
	err = migrations.Check(b.ctx, b.conn)
	require.ErrorIs(t, err, migrations.ErrOlder)
	require.ErrorContains(t, err, "run `rouse migrate`")
	b.exec("delete from rouse_migrations")
	require.ErrorIs(t, migrations.Check(b.ctx, b.conn), migrations.ErrMissing)
}

// A migration that fails leaves nothing behind, and the sentence says which one it was.
func TestFailedMigrationLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table parked_events (in_the_way int)")
	_, err := migrations.Up(b.ctx, b.conn)
	require.ErrorContains(t, err, "0001_schema")
	require.ErrorIs(t, migrations.Check(b.ctx, b.conn), migrations.ErrMissing)
	require.Zero(t, b.int("select count(*) from pg_class where relname in ('events', 'rouse_migrations')"))
	b.exec("drop table parked_events")
	require.Equal(t, migrations.Latest(), b.up())
}

func TestPrintedScriptIsTheSameSchema(t *testing.T) {
	t.Parallel()
	var script bytes.Buffer
	require.NoError(t, migrations.Print(&script))
	printed, migrated := setup(t), setup(t)
	_, err := printed.conn.PgConn().Exec(printed.ctx, script.String()).ReadAll() // as psql -f sends it
	require.NoError(t, err)
	require.NoError(t, migrations.Check(printed.ctx, printed.conn))
	require.Zero(t, printed.up())
	migrated.up()
	require.Equal(t, migrated.shape(), printed.shape())

	_, err = printed.conn.PgConn().Exec(printed.ctx, script.String()).ReadAll()
	require.Error(t, err, "a second run stops at the first table")
	_, err = printed.conn.Exec(printed.ctx, "rollback")
	require.NoError(t, err)
	require.NoError(t, migrations.Check(printed.ctx, printed.conn))
}

// shape describes tables, columns, constraints, triggers and functions.
func (b *bundle) shape() []string {
	b.t.Helper()
	rows, err := b.conn.Query(b.ctx, `
		select format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
		from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
		where c.relnamespace = 'public'::regnamespace
		union all select conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
		union all select tgenabled::text || replace(pg_get_triggerdef(oid),
			format('(%L, %L)', 'events'::regclass::oid, pg_get_serial_sequence('events', 'global_position')::regclass::oid), '(THE SEQUENCE)')
			from pg_trigger where not tgisinternal
		union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
		union all select relname || relpersistence::text || reloptions::text from pg_class where relnamespace = 'public'::regnamespace
		union all select version || name || oldest_binary::text from rouse_migrations
		order by 1`)
	require.NoError(b.t, err)
	shape, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	require.NoError(b.t, err)
	var out []string
	for _, s := range shape {
		if s != nil {
			out = append(out, *s)
		}
	}
	require.Greater(b.t, len(out), 50)
	return out
}

func TestTwoSchemasLiveSideBySide(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	b.exec("create schema second")
	b.exec("set search_path = second")
	require.ErrorIs(t, migrations.Check(b.ctx, b.conn), migrations.ErrMissing, "the tables of another schema are not this one's")
	require.Equal(t, migrations.Latest(), b.up())
	for _, schema := range []string{"public", "second"} {
		b.exec("set search_path = " + schema)
		b.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('a', '1', 1, 'e', '{}')")
		require.Equal(t, 1, b.int("select max(global_position)::int from events"))
	}
}

func TestSchemaThatDoesNotExistIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("set search_path = nowhere")
	_, err := migrations.Up(b.ctx, b.conn)
	require.ErrorIs(t, err, migrations.ErrNoSchema)
}

// Slots are made of the bytes of an aggregate's id, so a database that keeps others is refused, by Up and by the script.
func TestDatabaseThatIsNotUTF8IsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := b.Name + "_ascii"
	b.exec("create database " + pgx.Identifier{name}.Sanitize() + " template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
	t.Cleanup(func() { b.exec("drop database " + pgx.Identifier{name}.Sanitize() + " with (force)") })
	cfg, err := pgx.ParseConfig(b.URL)
	require.NoError(t, err)
	cfg.Database = name
	conn, err := pgx.ConnectConfig(b.ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(b.ctx)) }()

	_, err = migrations.Up(b.ctx, conn)
	require.ErrorIs(t, err, migrations.ErrEncoding)
	require.ErrorContains(t, err, "SQL_ASCII")
	var script strings.Builder
	require.NoError(t, migrations.Print(&script))
	_, err = conn.PgConn().Exec(b.ctx, script.String()).ReadAll()
	require.ErrorContains(t, err, "Rouse needs UTF8")
}

// Ids that nobody chose begin with the time, to the millisecond, which is cut off or rounded, and differ within it.
func TestIDsOfTheTableAreInTheOrderOfTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	before := b.text("select floor(extract(epoch from clock_timestamp()) * 1000)::bigint::text")
	b.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) select 't', 'a', n, 'e', '{}' from generate_series(1, 1000) n")
	after := b.text("select ceil(extract(epoch from clock_timestamp()) * 1000)::bigint::text")
	require.Equal(t, 1000, b.int(`select count(distinct event_id)::int from events
		where event_id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
		and ('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint between $1::text::bigint and $2::text::bigint`, before, after))
}
