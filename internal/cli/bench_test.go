package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/testdb"
)

// requireNoBench fails if a benchmark has left a schema.
func requireNoBench(t *testing.T, db *testdb.DB) {
	t.Helper()
	require.Zero(t, value[int](t, db.Pool, "select count(*) from pg_namespace where nspname like 'rouse_bench_%'"))
}

func TestBenchAsData(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	latency := decode[bench.LatencyResult](t, mustRouse(t, db, "bench", "latency", "--events", "10", "--rate", "200", "--json"))
	assert.Equal(t, "latency", latency.Bench)
	require.Len(t, latency.Steps, 1)
	assert.EqualValues(t, 10, latency.Steps[0].Handled)
	assert.EqualValues(t, 10, latency.Steps[0].FloorHandled)
	assert.Positive(t, latency.Steps[0].Ratio.P50)

	catchup := decode[bench.CatchupResult](t, mustRouse(t, db, "bench", "catchup", "--events", "1200", "--rounds", "1", "--json"))
	assert.Equal(t, "catchup", catchup.Bench)
	assert.EqualValues(t, 1200, catchup.Events)
	assert.Positive(t, catchup.Nothing.Ratio)
	assert.Positive(t, catchup.Upsert.Ratio)
	require.NotNil(t, catchup.Process)
	assert.Positive(t, catchup.Process.Ratio)

	appended := decode[bench.AppendResult](t, mustRouse(t, db, "bench", "append", "--writers", "1,2", "--rounds", "1", "--seconds", "1", "--json"))
	assert.Equal(t, "append", appended.Bench)
	assert.Positive(t, appended.Events)
	assert.Equal(t, appended.Events, appended.Handled)
	require.Len(t, appended.Disks, 1, "the settings of a server that is not its own are left alone")
	assert.Len(t, appended.Disks[0].Rows, 2)
	requireNoBench(t, db)
}

// TestBenchOfProcesses: those that measure, or are beside what is measured, are this program again, and none is left.
func TestBenchOfProcesses(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	scale := decode[bench.ScaleResult](t, mustRouse(t, db, "bench", "scale", "--events", "1200", "--workers", "1,2", "--rounds", "1", "--json"))
	assert.Equal(t, "scale", scale.Bench)
	require.Len(t, scale.Rows, 2)
	for _, row := range scale.Rows {
		assert.Positive(t, row.PerSecond)
		assert.Positive(t, row.Rounds[0].WorkersCPU)
	}
	assert.Zero(t, scale.Rows[0].CPURatio, "what a server of somebody else's uses is not known")

	many := decode[bench.ManyResult](t, mustRouse(t, db, "bench", "projections", "--projections", "1,3", "--events", "4", "--rounds", "1", "--json"))
	require.Len(t, many.Rows, 2)
	for _, row := range many.Rows {
		assert.Positive(t, row.Last.P50)
		assert.Positive(t, row.Connections)
		assert.Positive(t, row.Start)
	}
	payloads := decode[bench.PayloadsResult](t, mustRouse(t, db, "bench", "payloads", "--bytes", "20000,100", "--history", "1", "--rounds", "1", "--json"))
	require.Len(t, payloads.Rows, 2)
	assert.EqualValues(t, 1<<20/20000, payloads.Rows[0].Events)
	for _, row := range payloads.Rows {
		assert.Positive(t, row.Ratio)
	}

	appended := decode[bench.AppendResult](t, mustRouse(t, db, "bench", "append", "--writers", "1", "--rounds", "1", "--seconds", "1", "--idle-processes", "2", "--json"))
	assert.Equal(t, 2, appended.Idle)
	assert.Equal(t, appended.Events, appended.Handled)
	requireNoBench(t, db)
	require.Zero(t, value[int](t, db.Pool, "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'rouse bench sleeper%'"))
}

func TestBenchForPeople(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	// What is a difference may be below 0 where there is next to nothing to measure: a tiny run is for the form of the table.
	for args, table := range map[string]string{
		"latency --events 10 --rate 200":                                 `(?m)^ +rouse +[\d.]+ +[\d.]+ +[\d.]+$`,
		"catchup --events 1200 --rounds 1":                               `(?m)^an upsert for each event +[\d,]+ +the same by hand, pipelined +[\d,]+ +[\d.]+$`,
		"tenants --schemas 2 --seconds 1 --appends 2 --apart 1":          `(?m)^a group of 2 schemas +[\d.]+ s +\d+ +[\d.]+ +[\d.]+ +-?\d+ MB +\d+$`,
		"idle --seconds 1 --workers 1 --appends 1":                       `(?m)^notifications for 1 appends: 0 with nobody asleep, 1 with one worker asleep$`,
		"cost --events 3 --rate 50 --rounds 1":                           `(?m)^rouse( +-?[\d.]+){7}$`,
		"writers --writers 2 --rounds 1 --seconds 1":                     `(?m)^ +2 +[\d,]+ +[\d,]+ +[\d.]+ +[\d,]+ +[\d,]+ +[\d.]+ +[\d,]+ +[\d.]+$`,
		"ladder --rate 50,100 --seconds 1 --writers 2 --rounds 1":        `(?m)^the p50 of neighbours differs by [\d.]+ times at most`,
		"partitions --partitions 2,4 --events 1200 --timed 2 --rounds 1": `(?m)^ +4 +[\d,]+ +[\d.]+ +[\d,]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$`,
		"projections --projections 1,2 --events 2 --rounds 1":            `(?m)^ +2 +[\d.]+ +[\d.]+ +[\d.]+ +\d+ +\d+ +[\d.]+$`,
		"payloads --bytes 100 --history 1 --rounds 1":                    `(?m)^ +100 +[\d,]+ +[\d,]+ +[\d,]+ +[\d.]+ +\d+$`,
		"append --writers 2 --rounds 1 --seconds 1":                      `(?m)^ +2 +[\d,]+ +[\d,]+ +[\d.]+ +[\d,]+ +[\d.]+$`,
	} {
		r := runRouse(t, on(db), append([]string{"bench"}, strings.Fields(args)...)...)
		require.Zero(t, r.code, r.stderr)
		assert.Regexp(t, `^PostgreSQL \d+`, r.stdout)
		assert.Regexp(t, table, r.stdout)
		assert.Empty(t, r.stderr, "there is no progress bar where there is no terminal")
	}
	requireNoBench(t, db)
}

// TestStoppedBench: Ctrl+C in the middle leaves no schema, and nobody who still writes.
func TestStoppedBench(t *testing.T) {
	t.Parallel()
	for args, begun := range map[string]string{
		"latency --events 100000":         "select exists (select from pg_stat_activity where datname = current_database() and query like '%insert into floor_log%' and pid <> pg_backend_pid())",
		"catchup --events 3000000":        "select exists (select from pg_stat_activity where datname = current_database() and state = 'active' and query like '%generate_series%' and pid <> pg_backend_pid())",
		"append --seconds 60 --writers 2": "select count(*) >= 2 from pg_stat_activity where datname = current_database() and query like '%insert into events%' and pid <> pg_backend_pid()",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			db := testdb.Empty(t)
			p := startRouse(t, on(db), append([]string{"bench"}, strings.Fields(args)...)...)
			testdb.Eventually(t, processTimeout, "the benchmark to work", func() (bool, error) {
				return value[bool](t, db.Pool, begun), nil
			})
			p.Signal(t, syscall.SIGINT)
			assert.Equal(t, 1, p.Wait(t))
			assert.Empty(t, p.Stdout.String())
			assert.Equal(t, "rouse: stopped by a signal before the work was done\n", p.Stderr.String())
			requireNoBench(t, db)
			testdb.Eventually(t, processTimeout, "the last writer to be gone", func() (bool, error) {
				return value[bool](t, db.Pool, "select not exists (select from pg_stat_activity where datname = current_database() and application_name like 'rouse bench%')"), nil
			})
		})
	}
}

// TestBenchBringsItsOwnServer: with nothing but the program, and nothing of it is left, also after Ctrl+C.
func TestBenchBringsItsOwnServer(t *testing.T) {
	t.Parallel()
	temporary := t.TempDir()
	require.NoError(t, os.Chmod(temporary, 0o777)) // where the tests run as root, the server does not
	env := []string{"TMPDIR=" + temporary}
	p := startRouse(t, env, "bench", "latency", "--events", "100000", "--log-format", "json")
	testdb.Eventually(t, processTimeout, "the server to be up", func() (bool, error) {
		return strings.Contains(p.Stderr.String(), "postgres is up"), nil
	})
	p.Signal(t, syscall.SIGINT)
	assert.Equal(t, 1, p.Wait(t))
	r := runRouse(t, append(env, "PGHOST=192.0.2.1", "PGSERVICE=none"), "bench", "latency", "--events", "3", "--rate", "200", "--json")
	require.Zero(t, r.code, r.stderr)
	assert.Contains(t, r.stderr, `"variables":["PGHOST","PGSERVICE"]`)
	assert.EqualValues(t, 3, decode[bench.LatencyResult](t, r.stdout).Steps[0].Handled)
	left, err := filepath.Glob(filepath.Join(temporary, "rouse-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestMisusedBench(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	for args, holds := range map[string]string{
		"latency --events -1":            "--events -1",
		"latency --writers 300":          "--writers 300",
		"latency --table-rows -1":        "--table-rows",
		"latency --rate 0":               "--rate 0",
		"latency --rate NaN":             "--rate NaN",
		"catchup --events 0":             "--events 0",
		"catchup --rounds 0":             "--rounds 0",
		"append --writers 0":             "--writers",
		"append --writers 1,x":           "--writers",
		"append --writers 1000":          "--writers",
		"append --rounds 0":              "--rounds 0",
		"append --seconds 0":             "--seconds 0",
		"append --disk slow":             "--disk slow",
		"append --idle-processes 1000":   "--idle-processes 1000",
		"scale --workers 0":              "--workers",
		"scale --events 0":               "--events 0",
		"scale --rounds 0":               "--rounds 0",
		"idle --seconds 0":               "--seconds 0",
		"cost --events 0":                "--events 0",
		"cost --rate 0":                  "--rate 0",
		"cost --rounds 0":                "--rounds 0",
		"writers --writers 0":            "--writers",
		"writers --rounds 0":             "--rounds 0",
		"writers --seconds 0":            "--seconds 0",
		"writers --poll 0":               "--poll 0",
		"ladder --rate 100":              "--rate",
		"ladder --rate 300,100":          "--rate",
		"ladder --rate 0,100":            "--rate 0",
		"ladder --seconds 0":             "--seconds 0",
		"ladder --writers 0":             "--writers 0",
		"ladder --rounds 0":              "--rounds 0",
		"partitions --partitions 32":     "--partitions",
		"partitions --partitions 32,33":  "--partitions",
		"partitions --events 0":          "--events 0",
		"partitions --timed 0":           "--timed 0",
		"partitions --rate 0":            "--rate 0",
		"partitions --rounds 0":          "--rounds 0",
		"projections --projections 0":    "--projections",
		"projections --projections 1000": "--projections",
		"projections --events 0":         "--events 0",
		"projections --rate 0":           "--rate 0",
		"projections --rounds 0":         "--rounds 0",
		"payloads --bytes 1":             "--bytes",
		"payloads --history 0":           "--history 0",
		"payloads --rounds 0":            "--rounds 0",
		"idle --workers 0":               "--workers 0",
		"idle --appends 0":               "--appends 0",
		"append --disk floppy":           "floppy",
		"latency --schema mine":          "--schema",
		"everything":                     "everything",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			requireFault(t, runRouse(t, on(db), append([]string{"bench"}, strings.Fields(args)...)...), exitUsage, holds)
		})
	}
	address := closedPort(t)
	for _, part := range []string{"latency", "catchup", "append", "scale", "idle", "cost", "writers", "ladder", "partitions", "projections", "payloads"} {
		requireFault(t, runRouse(t, []string{"DATABASE_URL=postgres://postgres:s3cret@" + address + "/x"}, "bench", part), 3, "cannot reach PostgreSQL at "+address)
	}
}
