package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/demo"
	children "github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/testdb"
)

// demoSchemas is how many schemas of demos there are in the database.
func demoSchemas(t testing.TB, db *testdb.DB) int {
	t.Helper()
	return value[int](t, db.Pool, "select count(*) from pg_namespace where nspname like 'rouse\\_demo\\_%'")
}

// frames are the lines of `rouse demo --json`.
func frames(t *testing.T, out string) (all []demo.Frame, verdict demo.Outcome) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines[:len(lines)-1] {
		all = append(all, decode[demo.Frame](t, line))
	}
	return all, decode[demo.Outcome](t, lines[len(lines)-1])
}

// TestDemoWalksFromOneWorkerToFour: they join one after the other and share the partitions evenly, one is killed, one leaves
// and one freezes, each comes back, every event is handled once and in order, and nothing is left in the database.
func TestDemoWalksFromOneWorkerToFour(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	out := mustRouse(t, db, "demo", "--duration", "4s", "--patience", "1m")
	assert.Regexp(t, `(?m)^ +\d+ s  appended [\d,]+  handled [\d,]+  lag [\d,]+  p50 .* p99 .*  worker-0 \d+ % \w+  worker-1 \d+ % \w+  worker-2 \d+ % \w+  worker-3 \d+ % \w+$`, out)
	pids := regexp.MustCompile(`(?s)worker-1 \(pid (\d+)\) was killed with SIGKILL.*worker-1 \(pid (\d+)\) was started again`).FindStringSubmatch(out)
	require.Len(t, pids, 3, out)
	assert.NotEqual(t, pids[1], pids[2])
	assert.Contains(t, out, "frozen for longer than its lease (--lease-ttl 2s)")

	_, table, _ := strings.Cut(out, "\nSTAGE ")
	// Where the machine stood still while shares were measured, there were no events to share.
	const after, share, taken = ` after \S+ s`, `(, [\d/]+ %( \(off\))?)?`, `, taken over in [\d.]+ s( \(late\))?`
	assert.Regexp(t, `(?m)^worker-\d \w+ +[\d/]+, \d+ % +[\d/]+ after \S+ s, [\d/]+ %`, table, "the shares of new events in at least one stage, however slow the machine is")
	for i, row := range []string{
		`worker-0 starts +32(, 100 %)? +32` + after + `(, 100 %)?`,
		`worker-1 joins +16/16(, 50 %)? +16/16` + after + share,
		`worker-2 joins +11/11/10(, 33 %)? +11/11/10` + after + share,
		`worker-3 joins +8/8/8/8(, 25 %)? +8/8/8/8` + after + share,
		`worker-1 is killed +11/11/10, taken over in 1 s +11/11/10` + after + taken,
		`worker-1 is back +8/8/8/8 +8/8/8/8` + after,
		`worker-2 leaves +11/11/10(, 33 %)? +11/11/10` + after + share,
		`worker-2 is back +8/8/8/8 +8/8/8/8` + after,
		`worker-3 is frozen +11/11/10, taken over in 3 s +11/11/10` + after + taken,
		`worker-3 goes on +8/8/8/8 +8/8/8/8` + after,
	} {
		lines := strings.Split(table, "\n")
		require.Greater(t, len(lines), i+1, table)
		assert.Regexp(t, "^"+row+"$", lines[i+1])
	}
	assert.Regexp(t, `(?m)^appended to handled: p50 [\d.,]+ ms, p99 [\d.,]+ ms, with what waited for a worker$`, out)
	verdict := regexp.MustCompile(`(?m)^verdict: right: ([\d,]+) events appended, ([\d,]+) handled, 0 lost, 0 doubled, 0 out of order, 0 stray$`).FindStringSubmatch(out)
	require.Len(t, verdict, 3, out)
	assert.Equal(t, verdict[1], verdict[2])
	assert.Greater(t, len(verdict[1]), len("999"), "more than the first burst")
	assert.NotContains(t, out, "\x1b", "there is no terminal")

	assert.Zero(t, demoSchemas(t, db))
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from pg_tables where schemaname = 'public'"))
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'rouse%'"))
}

// TestDemoAsData fixes the names that scripts use, and that the numbers agree with each other and with the schema that --keep
// leaves to look at.
func TestDemoAsData(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	strange := []string{"WORKER_ID=7", "TOTAL_WORKERS=9", "ROUSE_PARTITIONS=1", "ROUSE_MAX_PARTITIONS=3", "ROUSE_CONCURRENCY=4", "ROUSE_LEASE_TTL=1h", "ROUSE_IDLE_INTERVAL=1h"}
	r := runRouse(t, append(on(db), strange...), "demo", "--duration", "2s", "--workers", "2", "--patience", "1m", "--keep", "--json")
	require.Zero(t, r.code, r.stderr)
	all, verdict := frames(t, r.stdout)
	requireFrames(t, all)

	assert.True(t, verdict.Right)
	assert.Equal(t, 1, verdict.Kills)
	assert.Greater(t, verdict.Appended, int64(demo.FirstBurst))
	assert.Equal(t, verdict.Appended, verdict.Handled)
	require.NotNil(t, verdict.P50)
	assert.Positive(t, *verdict.P50)
	assert.GreaterOrEqual(t, *verdict.P99, *verdict.P50)
	var names map[string]any
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &names))
	for _, name := range []string{"appended", "handled", "lost", "doubled", "out_of_order", "stray", "p50_ms", "p99_ms", "stages", "kills", "right", "kept"} {
		assert.Contains(t, names, name)
	}
	requireStages(t, db, verdict.Steps)

	require.Regexp(t, "^rouse_demo_[0-9a-f]{8}$", verdict.Kept)
	rows := "select count(distinct event_id) from " + pgx.Identifier{verdict.Kept, "demo_log"}.Sanitize()
	assert.Equal(t, verdict.Handled, value[int64](t, db.Pool, rows))
	assert.Equal(t, 1, demoSchemas(t, db))
	assert.Contains(t, mustRouse(t, db, "status", "--schema", verdict.Kept), "projection demo_log (running), 32 partitions")
}

// requireFrames checks the frames of a demo with two workers.
func requireFrames(t *testing.T, all []demo.Frame) {
	t.Helper()
	require.NotEmpty(t, all)
	var notes []string
	pids := map[int]bool{}
	for i, f := range all {
		if i > 0 {
			assert.GreaterOrEqual(t, f.Appended, all[i-1].Appended)
			assert.GreaterOrEqual(t, len(f.Workers), len(all[i-1].Workers))
		}
		assert.Equal(t, f.Lag, f.Appended-f.Handled)
		var share float64
		var handled int64
		for _, w := range f.Workers {
			pids[w.PID] = true
			share += w.SharePercent
			handled += w.Handled
		}
		assert.Equal(t, f.Handled, handled)
		if share != 0 {
			assert.InDelta(t, 100, share, 0.01)
		}
		notes = append(notes, f.Notes...)
	}
	assert.Len(t, all[len(all)-1].Workers, 2)
	assert.GreaterOrEqual(t, len(pids), 2)
	assert.Regexp(t, `worker-1 \(pid \d+\) was killed.*worker-1 \(pid \d+\) was started again.*worker-0 \(pid \d+\) is told to stop in order`, strings.Join(notes, " "))
}

// requireStages checks what was seen of a walk of two workers.
func requireStages(t *testing.T, db *testdb.DB, stages []demo.StepResult) {
	t.Helper()
	var told []string
	for _, s := range stages {
		told = append(told, s.Worker+" "+s.What)
		assert.True(t, s.Complete)
		assert.Equal(t, demo.FairShares(32, s.Workers), s.Partitions)
		assert.Equal(t, s.ExpectedPartitions, s.Partitions)
		require.NotNil(t, s.PlannedSeconds)
		assert.Positive(t, *s.PlannedSeconds)
		assert.Equal(t, s.TakeoverLimit != nil, s.TakeoverSeconds != nil, s.What)
		var sum float64
		for _, share := range s.SharesPercent {
			sum += share
		}
		if s.ExpectedPercent != nil {
			assert.InDelta(t, 100, sum, 0.01)
			assert.Len(t, s.SharesPercent, s.Workers)
		}
	}
	want := []string{"worker-0 starts", "worker-1 joins", "worker-1 is killed", "worker-1 is back", "worker-0 leaves", "worker-0 is back"}
	if children.CanFreeze {
		want = append(want, "worker-1 is frozen", "worker-1 goes on")
		took := stages[len(stages)-2].TakeoverSeconds
		for try := 0; try < 3 && took != nil && *took <= 1; try++ { // on a busy machine more of the lease may have been over
			_, again := frames(t, mustRouse(t, db, "demo", "--duration", "2s", "--workers", "2", "--patience", "1m", "--json"))
			took = again.Steps[len(again.Steps)-2].TakeoverSeconds
		}
		require.NotNil(t, took)
		assert.Greater(t, *took, 1.0, "not before the lease ran out, of which a fifth may have been over")
	}
	assert.Equal(t, want, told)
	measured := slices.ContainsFunc(stages, func(s demo.StepResult) bool { return s.ExpectedPercent != nil })
	assert.True(t, measured, "the shares of new events in at least one stage, however slow the machine is")
}

// TestDemoFailsWhenNobodyTakesOver: workers that are not given the time to share the partitions make the verdict negative,
// though no event is lost.
func TestDemoFailsWhenNobodyTakesOver(t *testing.T) {
	t.Parallel()
	r := runRouse(t, on(testdb.Empty(t)), "demo", "--duration", "1s", "--workers", "2", "--patience", "1ms")
	assert.Equal(t, 6, r.code)
	assert.Regexp(t, `(?m)^verdict: WRONG: .* 0 lost, 0 doubled, 0 out of order, 0 stray; .*worker-0 starts: the partitions were not as planned within 1ms; `, r.stdout)
	assert.Contains(t, r.stdout, "not as planned")
	assert.Regexp(t, `(?m)^rouse: workers did not join or take over in time`, r.stderr)
}

// TestDemoWithoutTheRightToMakeASchema says so in one sentence.
func TestDemoWithoutTheRightToMakeASchema(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	role := db.Name + "_guest"
	mustExec(t, db.Pool, "create role "+role+" login password '"+testdb.Password+"'")
	t.Cleanup(func() { mustExec(t, db.Pool, "drop role "+role) })
	env := []string{"DATABASE_URL=" + testdb.As(t, db.URL, role)}
	requireFault(t, runRouse(t, env, "demo"), 1, "permission denied for database", "grant it")
	assert.Zero(t, demoSchemas(t, db))
}

// TestChildrenStopInOrderWhenStandardInputEnds: which it does when their parent is gone.
func TestChildrenStopInOrderWhenStandardInputEnds(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{demo.AppenderArgs(100), demo.WorkerArgs(0)} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), asCommand+"=1", "DATABASE_URL="+db.URL)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			testdb.Eventually(t, processTimeout, "it to work", func() (bool, error) {
				return value[bool](t, db.Pool, "select exists (select from events) or exists (select from projection_checkpoints where owner is not null)"), nil
			})
			require.NoError(t, stdin.Close())
			require.NoError(t, cmd.Wait())
			assert.Zero(t, value[int](t, db.Pool, "select count(*) from projection_workers"), "a worker said goodbye")
		})
	}
}
