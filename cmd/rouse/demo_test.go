package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// demoSchemas is how many schemas of demos there are in the database.
func demoSchemas(t testing.TB, db *testdb.DB) int {
	t.Helper()
	return value[int](t, db.Pool, "select count(*) from pg_namespace where nspname like 'rouse\\_demo\\_%'")
}

// frames are the lines of `rouse demo --json`.
func frames(t *testing.T, out string) (all []frame, verdict demoVerdict) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines[:len(lines)-1] {
		all = append(all, decode[frame](t, line))
	}
	return all, decode[demoVerdict](t, lines[len(lines)-1])
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
	const after, share, taken = ` after \S+ s`, `, [\d/]+ %( \(off\))?`, `, taken over in [\d.]+ s( \(late\))?`
	for i, row := range []string{
		`worker-0 starts +32, 100 % +32` + after + `, 100 %`,
		`worker-1 joins +16/16, 50 % +16/16` + after + share,
		`worker-2 joins +11/11/10, 33 % +11/11/10` + after + share,
		`worker-3 joins +8/8/8/8, 25 % +8/8/8/8` + after + share,
		`worker-1 is killed +11/11/10, taken over in 1 s +11/11/10` + after + taken,
		`worker-1 is back +8/8/8/8 +8/8/8/8` + after,
		`worker-2 leaves +11/11/10, 33 % +11/11/10` + after + share,
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
	strange := []string{"WORKER_ID=7", "TOTAL_WORKERS=9", "ROUSE_PARTITIONS=1", "ROUSE_MAX_PARTITIONS=3", "ROUSE_CONCURRENCY=4", "ROUSE_LEASE_TTL=1h"}
	r := runRouse(t, append(on(db), strange...), "demo", "--duration", "2s", "--workers", "2", "--patience", "1m", "--keep", "--json")
	require.Zero(t, r.code, r.stderr)
	all, verdict := frames(t, r.stdout)
	requireFrames(t, all)

	assert.True(t, verdict.Right)
	assert.Equal(t, 1, verdict.Kills)
	assert.Greater(t, verdict.Appended, int64(firstBurst))
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
	requireStages(t, verdict.Stages)

	require.Regexp(t, "^rouse_demo_[0-9a-f]{8}$", verdict.Kept)
	rows := "select count(distinct event_id) from " + pgx.Identifier{verdict.Kept, "demo_log"}.Sanitize()
	assert.Equal(t, verdict.Handled, value[int64](t, db.Pool, rows))
	assert.Equal(t, 1, demoSchemas(t, db))
	assert.Contains(t, mustRouse(t, db, "status", "--schema", verdict.Kept), "projection demo_log (running), 32 partitions")
}

// requireFrames checks the frames of a demo with two workers.
func requireFrames(t *testing.T, all []frame) {
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
func requireStages(t *testing.T, stages []stageResult) {
	t.Helper()
	var told []string
	for _, s := range stages {
		told = append(told, s.Worker+" "+s.What)
		assert.True(t, s.Complete)
		assert.Equal(t, fairShares(32, s.Workers), s.Partitions)
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
	if canFreeze {
		want = append(want, "worker-1 is frozen", "worker-1 goes on")
		assert.Greater(t, *stages[len(stages)-2].TakeoverSeconds, 1.0, "not before the lease ran out, of which a fifth may have been over")
	}
	assert.Equal(t, want, told)
	measured := slices.ContainsFunc(stages, func(s stageResult) bool { return s.ExpectedPercent != nil })
	assert.True(t, measured, "the shares of new events in at least one stage, however slow the machine is")
}

// TestDemoFindsWhatIsMissing: a build whose projection leaves out every thousandth event must be found out.
func TestDemoFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "rouse")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "rousefault", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	db := testdb.Empty(t)
	p := startProgram(t, binary, on(db), "demo", "--duration", "2s", "--rate", "1000", "--workers", "1", "--patience", "1m", "--keep", "--json")
	require.Equal(t, 6, p.wait(t))
	_, verdict := frames(t, p.stdout.String())
	skipped := "select count(*) from " + pgx.Identifier{verdict.Kept, "events"}.Sanitize() + " where global_position % 1000 = 0"
	assert.False(t, verdict.Right)
	assert.Positive(t, verdict.Lost)
	assert.Equal(t, value[int64](t, db.Pool, skipped), verdict.Lost)
	assert.Zero(t, verdict.Doubled+verdict.OutOfOrder+verdict.Stray)
	assert.Regexp(t, `(?m)^rouse: the read model does not agree with the log`, p.stderr.String())
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
	mustExec(t, db.Pool, "create role "+role+" login")
	t.Cleanup(func() { mustExec(t, db.Pool, "drop role "+role) })
	env := []string{"DATABASE_URL=" + with(t, db.URL, func(u *url.URL) { u.User = url.User(role) })}
	requireFault(t, runRouse(t, env, "demo"), 1, "permission denied for database", "grant it")
	assert.Zero(t, demoSchemas(t, db))
}

func TestWorkerViewOfSeconds(t *testing.T) {
	t.Parallel()
	p50, p99 := 1.26, 2345.6
	f := frame{
		Second: 3, Appended: 1300, Handled: 1290, Lag: 10, P50: &p50, P99: &p99,
		Workers: []workerFrame{{Label: "worker-0", PID: 4711, SharePercent: 66.6, Partitions: 16, Handled: 860, Mode: "quiet", State: "live"}, {Label: "worker-1", PID: 4712, State: stateKilled}},
	}
	var lines strings.Builder
	v := &lineView{w: &lines}
	for range 2 {
		require.NoError(t, v.frame(f))
	}
	assert.Equal(t, "   3 s  appended 1,300  handled 1,290  lag 10  p50 1.3 ms  p99 2,346 ms  worker-0 67 % quiet  worker-1 0 % killed\n", lines.String(),
		"one line for a second")
}

// TestTableIsDrawnInPlace: a table goes over the one before, a note stays above it, and nothing is wider or higher than the
// terminal.
func TestTableIsDrawnInPlace(t *testing.T) {
	t.Parallel()
	var f frame
	for i := range 12 {
		f.Workers = append(f.Workers, workerFrame{Label: workerLabel(i), PID: 4000000 + i, State: "live", Mode: "torrent"})
	}
	for _, size := range [][2]int{{100, 40}, {30, 8}, {1, 1}, {0, 0}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			v := &tableView{w: &b, size: func() (int, int) { return size[0], size[1] }}
			screen := func() string { s := b.String(); b.Reset(); return s }
			width, height := size[0], size[1]
			if width == 0 {
				width, height = 80, 24
			}
			require.NoError(t, v.frame(f))
			first := screen()
			assert.NotContains(t, first, "\x1b")
			rows := strings.Count(first, "\n")
			assert.LessOrEqual(t, rows, max(height-2, 1))
			for line := range strings.Lines(first) {
				assert.Less(t, len(strings.TrimSuffix(line, "\n")), max(width, 1))
			}
			require.NoError(t, v.note(0, "something"))
			over := fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
			assert.Equal(t, over+clip("   0 s  something", max(width-1, 0))+"\n"+first, screen())
			require.NoError(t, v.frame(f))
			assert.Equal(t, over+first, screen())
			v.end()
			require.NoError(t, v.note(0, "after the end"))
			assert.NotContains(t, screen(), "\x1b", "what is left on the screen is not drawn over")
		})
	}
}

func TestTableHasColoursOnlyWhereTheyAreWelcome(t *testing.T) {
	t.Parallel()
	for _, colour := range []bool{true, false} {
		var b strings.Builder
		v := &tableView{w: &b, colour: colour, size: func() (int, int) { return 80, 24 }}
		require.NoError(t, v.frame(frame{Workers: []workerFrame{{Label: "worker-0", State: stateKilled}}}))
		assert.Equal(t, colour, strings.Contains(b.String(), "\x1b["))
	}
}

func TestLastLinesOfAChild(t *testing.T) {
	t.Parallel()
	var l lastLines
	assert.Equal(t, "it said nothing", l.sentence())
	for i := range 30 {
		_, _ = fmt.Fprintf(&l, "line %d\nrest", i)
		_, _ = fmt.Fprint(&l, " of it\n")
	}
	_, _ = fmt.Fprint(&l, "rouse: the end")
	assert.Equal(t, "the end", l.sentence())
	all := l.all()
	require.Len(t, all, keptLines+1)
	assert.Equal(t, []string{"line 29", "rest of it", "rouse: the end"}, all[len(all)-3:])
	_, _ = l.Write(make([]byte, 10*longestLine))
	assert.LessOrEqual(t, len(l.sentence()), longestLine)
}

// TestChildrenStopInOrderWhenStandardInputEnds: which it does when their parent is gone.
func TestChildrenStopInOrderWhenStandardInputEnds(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{appenderArgs(100), workerArgs(0)} {
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
