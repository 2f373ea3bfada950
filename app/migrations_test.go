package app

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// own is the name that a program has which says none: that of the binary.
var own = filepath.Base(os.Args[0])

func TestMigrateAppliesTheMigrationsOfTheProgramOnce(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	fails(t, "seed", on(db), []string{"projection-worker"}, 4, own+": ", own+" migrate")
	first := must(t, "seed", db, "migrate")
	assert.Contains(t, first, "the schema is at version")
	assert.Contains(t, first, "applied 2 migrations of "+own)
	assert.Contains(t, must(t, "seed", db, "migrate"), "2 migrations of "+own+" had been applied")
	assert.Equal(t, "0001_orders.sql 0002_mails.sql", value[string](t, db.Pool, "select string_agg(name, ' ' order by applied_at) from rouse_program_migrations"))

	more := append(on(db), "SEED=more")
	fails(t, "seed", more, []string{"projection-worker"}, 4, "0003_more.sql", own+" migrate")
	fails(t, "seed", more, []string{"greet", "you"}, 4, "0003_more.sql", own+" migrate")
	fails(t, "seed", more, []string{"count", "orders"}, 4, "0003_more.sql", own+" migrate")
	doctor := start(t, "seed", more, "doctor")
	require.Equal(t, 7, doctor.Wait(t))
	assert.Regexp(t, `(?m)^fail +migrations .*0003_more.sql`, doctor.Stdout.String())
	p := start(t, "seed", more, "migrate", "--json")
	require.Zero(t, p.Wait(t))
	assert.Contains(t, p.Stdout.String(), `"own_applied": 1`)
	assert.Regexp(t, `(?m)^ok +migrations +2 migrations of `, must(t, "seed", db, "doctor"))
	must(t, "seed", db, "projection-worker", "--once") // a binary from before the latest migration goes on
}

// TestDoctorNamesTheRightToSeeTheMigrationsOfPrograms: a role that lacks it starts no worker of a program that has any.
func TestDoctorNamesTheRightToSeeTheMigrationsOfPrograms(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	must(t, "seed", db, "migrate")
	role := db.Name + "_worker"
	for _, sql := range []string{"create role " + role + " login password '" + testdb.Password + "'",
		"grant select, insert, update, delete on all tables in schema public to " + role, "grant select on all sequences in schema public to " + role,
		"revoke all on rouse_program_migrations from " + role} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		for _, sql := range []string{"drop owned by " + role, "drop role " + role} {
			_, err := db.Pool.Exec(context.Background(), sql)
			assert.NoError(t, err)
		}
	})
	as := &testdb.DB{URL: testdb.As(t, db.URL, role)}
	fails(t, "seed", on(as), []string{"projection-worker"}, 1, "permission denied for table rouse_program_migrations")
	grant := "grant select on public.rouse_program_migrations to " + role
	own := start(t, "seed", on(as), "doctor")
	require.Equal(t, 7, own.Wait(t))
	assert.Regexp(t, `(?m)^fail +migrations .*\n +-> run as the owner of the schema: `+grant+`$`, own.Stdout.String())
	assert.Regexp(t, `(?m)^warn +migrations .*\n +-> run as the owner of the schema: `+grant+`$`, must(t, "shop", as, "doctor"), "a program that has none")
	_, err := db.Pool.Exec(t.Context(), grant)
	require.NoError(t, err)
	must(t, "seed", as, "projection-worker", "--once")
	assert.Regexp(t, `(?m)^ok +migrations +2 migrations of `, must(t, "seed", as, "doctor"))
	assert.NotContains(t, must(t, "shop", as, "doctor"), "migrations of programs")
}

func TestMigrationThatWasChangedIsRefused(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	must(t, "seed", db, "migrate")
	for _, verb := range []string{"migrate", "projection-worker"} {
		fails(t, "seed", append(on(db), "SEED=changed"), []string{verb}, 4, "0001_orders.sql", "put the file back", "another program")
	}
}

func TestMigrationThatFailsLeavesNothingOfItself(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	fails(t, "seed", append(on(db), "SEED=wrong"), []string{"migrate"}, 1, "0003_wrong.sql", "line 3", "nothing")
	assert.False(t, value[bool](t, db.Pool, "select to_regclass('half') is not null"))
	assert.Equal(t, 2, value[int](t, db.Pool, "select count(*) from rouse_program_migrations"))
	fails(t, "seed", append(on(db), "SEED=commits"), []string{"migrate"}, 64, "0003_commits.sql", "take commit and rollback out of it")
}

// TestMigrationSetsNothingForTheNextOne: a dump, as the first file of a program often is one, begins with an empty search_path.
func TestMigrationSetsNothingForTheNextOne(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := start(t, "seed", append(on(db), "SEED=dump"), "migrate")
	require.Zero(t, p.Wait(t), &p.Stderr)
	assert.True(t, value[bool](t, db.Pool, "select to_regclass('public.behind') is not null"))
	assert.Equal(t, 4, value[int](t, db.Pool, "select count(*) from rouse_program_migrations"))
}

func TestManyProcessesMayMigrateAProgramAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	var all []*workertest.Program
	for range 4 {
		all = append(all, start(t, "seed", on(db), "migrate"))
	}
	for _, p := range all {
		require.Zero(t, p.Wait(t))
	}
	assert.Equal(t, 2, value[int](t, db.Pool, "select count(*) from rouse_program_migrations"))
}

// What --print prints makes a database that a worker takes.
func TestPrintedScriptHasTheMigrationsOfTheProgram(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	p := start(t, "seed", append(on(db), "SEED=open"), "migrate", "--print") // whose last file does not end its last statement
	require.Zero(t, p.Wait(t), &p.Stderr)
	_, err := db.Pool.Exec(t.Context(), p.Stdout.String())
	require.NoError(t, err)
	assert.Equal(t, 3, value[int](t, db.Pool, "select count(*) from rouse_program_migrations"))
	must(t, "seed", db, "projection-worker", "--once")
	assert.Contains(t, must(t, "seed", db, "migrate"), "had been applied")
}

// TestSchemasEachHaveTheProgram: with its migrations, its projections and its effect. A schema that lacks a migration is left alone.
func TestSchemasEachHaveTheProgram(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	for _, schema := range []string{"tenant_1", "tenant_2", "tenant_3"} {
		_, err := db.Pool.Exec(t.Context(), "create schema "+schema)
		require.NoError(t, err)
	}
	must(t, "seed", db, "migrate", "--schemas", "tenant_*")
	_, err := db.Pool.Exec(t.Context(), "delete from tenant_3.rouse_program_migrations where name = '0002_mails.sql'")
	require.NoError(t, err)
	w := start(t, "seed", on(db), "projection-worker", "--schemas", "tenant_*", "--projection", "orders,mails", "--worker-id", "w", "--http", "127.0.0.1:0")
	for _, schema := range []string{"tenant_1", "tenant_2"} {
		becomes(t, db, 2, "select count(distinct projection_name)::int from "+schema+".projection_checkpoints where owner is not null")
		must(t, "seed", db, "append", "--schema", schema, "--count", "20")
		becomes(t, db, int64(20), "select coalesce(sum(events), 0)::bigint from "+schema+".orders")
		becomes(t, db, int64(20), "select count(*) from "+schema+".mails where label = 'w'")
	}
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from tenant_3.projection_checkpoints"))
	_, said := served(t, w)("/readyz")
	assert.Contains(t, said, "0002_mails.sql")
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
}

// TestProgramThatBreaksInOneSchemaWorksInTheOthers: With panics, or returns what cannot be run.
func TestProgramThatBreaksInOneSchemaWorksInTheOthers(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	for _, schema := range []string{"tenant_1", "tenant_2", "tenant_3", "tenant_4", "tenant_5"} {
		_, err := db.Pool.Exec(t.Context(), "create schema "+schema+"; create table "+schema+".orders (id text primary key, events bigint not null)")
		require.NoError(t, err)
	}
	must(t, "panic", db, "migrate", "--schemas", "tenant_*")
	for _, schema := range []string{"tenant_4", "tenant_5"} {
		must(t, "panic", db, "append", "--schema", schema, "--count", "20")
	}
	w := start(t, "panic", on(db), "worker", "--schemas", "tenant_*", "--http", "127.0.0.1:0")
	for _, schema := range []string{"tenant_4", "tenant_5"} {
		becomes(t, db, int64(20), "select coalesce(sum(events), 0)::bigint from "+schema+".orders")
	}
	get := served(t, w)
	for _, reason := range []string{"schema tenant_1: .*panicked at main_test.go:[0-9]+ .*no mail server is set", "schema tenant_2: .*is nil, or has no name", "schema tenant_3: .*two projections are named orders"} {
		testdb.Eventually(t, processTimeout, reason, func() (bool, error) {
			_, said := get("/readyz")
			return regexp.MustCompile(reason).MatchString(said), nil
		})
	}
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
	fails(t, "panic", on(db, "ROUSE_SCHEMA=tenant_1"), []string{"worker"}, 1, "panicked at main_test.go:", "no mail server is set")
	fails(t, "panic", on(db, "ROUSE_SCHEMA=tenant_2"), []string{"worker"}, 64, "is nil, or has no name")
	fails(t, "panic", on(db, "ROUSE_SCHEMA=tenant_3"), []string{"worker"}, 64, "two projections are named orders")
	fails(t, "nil", nil, []string{"status"}, 64, "is nil, or has no name")
}

// TestMigrationsBelongToTheSchemaOfRouse, whatever else is in search_path: those of another one do not count.
func TestMigrationsBelongToTheSchemaOfRouse(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	_, err := db.Pool.Exec(t.Context(), "create schema tenant_1; create schema drafts")
	require.NoError(t, err)
	by := func(path string) []string {
		address, err := url.Parse(db.URL)
		require.NoError(t, err)
		query := address.Query()
		query.Set("search_path", path)
		address.RawQuery = query.Encode()
		return []string{"DATABASE_URL=" + address.String()}
	}
	p := start(t, "seed", by("drafts,public"), "migrate") // Rouse's tables are in public
	require.Zero(t, p.Wait(t), &p.Stderr)
	assert.Equal(t, 2, value[int](t, db.Pool, "select count(*) from public.rouse_program_migrations"))
	p = start(t, "seed", by("drafts,public"), "projection-worker", "--once")
	require.Zero(t, p.Wait(t), &p.Stderr)

	must(t, "shop", db, "migrate", "--schema", "tenant_1") // Rouse's tables alone
	fails(t, "seed", by("tenant_1,public"), []string{"projection-worker"}, 4, "0001_orders.sql")
	p = start(t, "seed", by("tenant_1,public"), "migrate")
	require.Zero(t, p.Wait(t), &p.Stderr)
	assert.Equal(t, 2, value[int](t, db.Pool, "select count(*) from tenant_1.rouse_program_migrations"))
}
