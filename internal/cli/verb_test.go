package cli

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/migrations"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&v), text)
	return v
}

func TestVersion(t *testing.T) {
	t.Parallel()
	r := runRouse(t, nil, "version", "--json")
	require.Zero(t, r.code)
	b := decode[build](t, r.stdout)
	assert.Equal(t, migrations.Latest(), b.Schema)
	assert.NotEmpty(t, b.Version)
	assert.NotEmpty(t, b.Commit)
}

func TestVersionIsSetByTheLinker(t *testing.T) {
	t.Parallel()
	const variables = "github.com/rouse-es/rouse/internal/cli"
	binary := filepath.Join(t.TempDir(), "rouse")
	out, err := workertest.Build(t.Context(), "go", "build", "-ldflags", "-X "+variables+".version=v1.2.3 -X "+variables+".commit=abcdef", "-o", binary, program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), binary, "version").Output()
	require.NoError(t, err)
	assert.Regexp(t, `^rouse v1\.2\.3 \(commit abcdef, schema \d+\)\n$`, string(out))
}

func TestHelpListsTheExitCodes(t *testing.T) {
	t.Parallel()
	r := runRouse(t, nil, "help")
	require.Zero(t, r.code)
	for _, code := range []string{"0", "1", "3", "4", "5", "6", "7", "64", "130"} {
		assert.Regexp(t, `(?m)^ +`+code+`  \w`, r.stdout)
	}
	assert.NotRegexp(t, `(?m)^ +2  \w`, r.stdout, "with that Go ends a program that has crashed")
	for _, variable := range []string{"DATABASE_URL", "ROUSE_SCHEMA", "ROUSE_JSON", "ROUSE_LOG_LEVEL", "ROUSE_LOG_FORMAT"} {
		assert.Contains(t, r.stdout, variable)
	}
}

func TestMigrateTwiceAndAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	var all []*workertest.Program
	for range 4 {
		all = append(all, startRouse(t, on(db), "migrate", "--json"))
	}
	applied := 0
	for _, p := range all {
		require.Zero(t, p.Wait(t))
		done := decode[migrated](t, p.Stdout.String())
		assert.Equal(t, migrations.Latest(), done.Version)
		applied += done.Applied
	}
	assert.Equal(t, migrations.Latest(), applied, "each migration is applied by one of them")
	assert.Contains(t, mustRouse(t, db, "migrate"), "nothing to do")
}

// TestMigrateHasPushesCarryEventsOrNot: in a new schema and in one that is current, in one schema and in all of them.
func TestMigrateHasPushesCarryEventsOrNot(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	function := func() string {
		return value[string](t, db.Pool, "select tgfoid::regproc::text from pg_trigger where tgrelid = 'events'::regclass and tgname = 'rouse_append_after'")
	}
	assert.Contains(t, mustRouse(t, db, "migrate", "--carry", "on"), "pushes carry the events of their appends")
	assert.Equal(t, "rouse_append_carry", function())
	assert.Contains(t, mustRouse(t, db, "migrate"), "nothing to do")
	assert.Equal(t, "rouse_append_carry", function(), "as it was")
	done := decode[migrated](t, mustRouse(t, db, "migrate", "--carry", "off", "--json"))
	assert.Equal(t, migrated{Version: migrations.Latest(), Carry: "off"}, done)
	assert.Equal(t, "rouse_append_after", function())
	requireFault(t, runRouse(t, on(db), "migrate", "--carry", "yes"), 64, "--carry", "on or off")
	requireFault(t, runRouse(t, on(db), "migrate", "--carry", "on", "--print"), 64, "exclude each other")
	assert.Equal(t, "rouse_append_after", function())
}

func TestPrintedSchemaIsTheSchema(t *testing.T) {
	t.Parallel()
	r := runRouse(t, []string{"DATABASE_URL=postgres://" + closedPort(t) + "/x"}, "migrate", "--print")
	require.Zero(t, r.code, "no database is needed")
	db := testdb.Empty(t)
	_, err := db.Conn(t).PgConn().Exec(t.Context(), r.stdout).ReadAll()
	require.NoError(t, err)
	assert.Contains(t, mustRouse(t, db, "migrate"), "nothing to do")
	mustRouse(t, db, "append", "--count", "10")
}

// TestAppendGoesOnFromWhatIsThere: also from what other programs have put there, and while they do.
func TestAppendGoesOnFromWhatIsThere(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "60", "--aggregates", "6")
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select aggregate_type, aggregate_id, max(aggregate_version) + 1, 'Foreign', '{}' from events group by 1, 2`)
	first := value[int](t, db.Pool, "select count(*) from events")
	var both []*workertest.Program
	for range 2 {
		both = append(both, startRouse(t, on(db), "append", "--count", "150", "--aggregates", "6", "--writers", "3", "--batch", "4", "--json"))
	}
	for _, p := range both {
		require.Zero(t, p.Wait(t))
		s := decode[appendSummary](t, p.Stdout.String())
		assert.EqualValues(t, 150, s.Events)
		assert.Positive(t, s.EventsPerSecond)
		assert.Positive(t, s.LastPosition)
		assert.Empty(t, p.Stderr.String(), "there is no progress bar where there is no terminal")
	}
	assert.Equal(t, first+300, value[int](t, db.Pool, "select count(*) from events"))
	assert.Zero(t, value[int](t, db.Pool, `select count(*) from (select from events group by aggregate_type, aggregate_id
		having min(aggregate_version) <> 1 or max(aggregate_version) <> count(*)) holes`))
	assert.Equal(t, 6, value[int](t, db.Pool, "select count(distinct (aggregate_type, aggregate_id)) from events"))
}

func TestAppendedEventsMakeSense(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "400", "--aggregates", "40")
	assert.Equal(t, 4, value[int](t, db.Pool, "select count(distinct aggregate_type) from events"))
	assert.GreaterOrEqual(t, value[int](t, db.Pool, "select count(distinct event_type) from events"), 10)
	assert.Zero(t, value[int](t, db.Pool, `select count(*) from events where (aggregate_version = 1) <>
		(event_type in ('UserRegistered', 'OrderPlaced', 'AccountOpened', 'ProductListed'))`), "every life begins once")
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from events where json_typeof(payload) <> 'object' or metadata->>'source' is null"))
}

func TestAppendKeepsTheRate(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := decode[appendSummary](t, mustRouse(t, db, "append", "--count", "100", "--rate", "50", "--json"))
	assert.GreaterOrEqual(t, s.Seconds, 1.7)
	assert.LessOrEqual(t, s.EventsPerSecond, 60.0)
}

func TestAppendThatIsStoppedSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startRouse(t, on(db), "append", "--count", "100000", "--rate", "20", "--json")
	testdb.Eventually(t, processTimeout, "events", func() (bool, error) {
		return value[bool](t, db.Pool, "select exists (select from events)"), nil
	})
	p.Signal(t, syscall.SIGINT)
	assert.Equal(t, 1, p.Wait(t))
	s := decode[appendSummary](t, p.Stdout.String())
	assert.EqualValues(t, value[int64](t, db.Pool, "select count(*) from events"), s.Events)
	assert.Regexp(t, `^rouse: stopped by a signal before the work was done: \S+ of 100,000 events are appended .*\n$`, p.Stderr.String())
}

func TestAppendWithoutAnEndIsStoppedInOrder(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startRouse(t, on(db), "append", "--count", "0", "--rate", "200", "--json")
	testdb.Eventually(t, processTimeout, "events", func() (bool, error) {
		return value[bool](t, db.Pool, "select exists (select from events)"), nil
	})
	p.Signal(t, syscall.SIGINT)
	require.Zero(t, p.Wait(t))
	s := decode[appendSummary](t, p.Stdout.String())
	assert.EqualValues(t, value[int64](t, db.Pool, "select count(*) from events"), s.Events)
	assert.Empty(t, p.Stderr.String())
}

// TestWhereTheDatabaseComesFrom: the flag before its variables, the more exact of these first, and PostgreSQL's own last.
func TestWhereTheDatabaseComesFrom(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(db.URL)
	require.NoError(t, err)
	nowhere := "postgres://" + closedPort(t) + "/x"
	for name, tc := range map[string]struct{ env, args []string }{
		"flag":           {[]string{"ROUSE_DATABASE_URL=" + nowhere, "DATABASE_URL=" + nowhere}, []string{"--database-url", db.URL}},
		"exact variable": {[]string{"ROUSE_DATABASE_URL=" + db.URL, "DATABASE_URL=" + nowhere}, nil},
		"usual variable": {[]string{"ROUSE_DATABASE_URL=", "DATABASE_URL=" + db.URL, "PGPORT=1"}, nil},
		"PostgreSQL's": {[]string{"PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGUSER=" + u.User.Username(), "PGPASSWORD=" + cfg.Password,
			"PGDATABASE=" + db.Name, "PGSSLMODE=" + u.Query().Get("sslmode")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runRouse(t, tc.env, append([]string{"status"}, tc.args...)...)
			require.Zero(t, r.code, r.stderr)
		})
	}
}

func TestSchemaFlag(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	const schema = `Odd "schema"`
	mustExec(t, db.Pool, "create schema "+pgx.Identifier{schema}.Sanitize())
	env := append(on(db), "ROUSE_SCHEMA="+schema)
	for _, args := range []string{"migrate", "append --count 20", "worker --once", "status"} {
		r := runRouse(t, env, strings.Fields(args)...)
		require.Zero(t, r.code, r.stderr)
	}
	assert.Equal(t, 20, value[int](t, db.Pool, `select sum(events)::int from "Odd ""schema""".scaling_activity`))
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from pg_tables where schemaname = 'public'"))
}

// TestQueryModes: behind a transaction pooler pgx needs one of these.
func TestQueryModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := testdb.Empty(t)
			pooled := *db
			pooled.URL = with(t, db.URL, func(u *url.URL) {
				q := u.Query()
				q.Set("default_query_exec_mode", mode)
				u.RawQuery = q.Encode()
			})
			for _, args := range []string{"migrate", "append --count 100", "worker --once", "status"} {
				mustRouse(t, &pooled, strings.Fields(args)...)
			}
			requireComplete(t, db, 100)
		})
	}
}

func TestPartitionsForPeople(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want string
		n    []int
	}{
		{"0", []int{0}},
		{"0-3", []int{0, 1, 2, 3}},
		{"0,2", []int{0, 2}},
		{"1,5,...,29", []int{1, 5, 9, 13, 17, 21, 25, 29}},
		{"0,2,4,7", []int{0, 2, 4, 7}},
		{"0-2,7,9-10", []int{0, 1, 2, 7, 9, 10}},
	} {
		assert.Equal(t, tc.want, numbers(tc.n))
	}
}
