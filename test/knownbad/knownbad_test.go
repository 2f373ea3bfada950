package knownbad

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// bad is a fault with the test that has to find it, what that test then says, and the package that it is in.
type bad struct{ fault, test, says, in string }

// knownBad are the faults of workers, each with the test that has to find it and what that test then says. The test is one of the
// integration tests, or, where it is face, one of the root package's. A subtest is the one that finds the fault soonest.
var knownBad = []bad{
	{"horizonless", "TestSlowCommitIsHandledInItsPlace", "what is above the hole must wait|Lost:(0x)?[1-9a-f]", integration},
	{"carried-ahead", "TestCarriedEventAboveAnOpenAppendWaits", "some looks at the locks|what is above the hole must wait|not equal|Not equal", face},
	{"unsealed", "TestForgedPushBringsNoEvent", "the log ends before a checkpoint|Not equal", face},
	{"heavy", "TestBatchBytes_BoundsABatch", "the bytes of a batch", face},
	{"unfenced", "TestTwinsHandleEveryEventOnce", `Doubled:(0x)?[1-9a-f]`, integration},
	{"client-fenced", "TestTwinsHandleEveryEventOnce", `Doubled:(0x)?[1-9a-f]`, integration},
	{"remembered", "TestPositionsGivenOutAgainAfterACrashAreHandled", `Lost:(0x)?[1-9a-f]|r to reach the last event in all partitions`, integration},
	{"unbounded", "TestWorkerThatJoinsGetsItsShareOfSlowEvents/.*/20ms/1", "in vain for first to own 16 partitions", integration},
	{"idle-ahead", "TestIdleCheckpointsDoNotPassTheEventInTheHandler", `Lost:(0x)?[1-9a-f]`, integration},
	{"unsettled", "TestAppendOpenAtTheArmingKeepsTheWorkerAwake", "the worker to go on reading", integration},
	{"unprobed", "TestDeafWorkerHearsAgain", "the worker to listen on another connection", integration},
	{"checkpoint-in-memory", "TestWorkLostInACrashIsDoneAgain", `Lost:(0x)?[1-9a-f]|r to reach the last event in all partitions`, integration},
	{"believed-note", "TestForgedNoteHidesNoEvent/pg_current_xact_id", "what is above the open append must wait", face},
	{"any-transaction", "TestHandlerThatEndsItsTransactionByAStatementIsToBlame/rollback", "nothing is lost|elements differ|not equal", face},
	{"unnamed-schema", "TestWhatAHandlerMakesOfItsSessionIsItsOwn/a_search_path_with_tables/single", "deadline exceeded", face},
}

// ofToday are the faults to build: a third, which is another one tomorrow, since each is a build of all tests; with ROUSE_STRESS all.
func ofToday() (today []bad) {
	const days = 3
	turn := int(time.Now().Unix()/int64((24*time.Hour).Seconds())) % days
	for i, bad := range knownBad {
		if os.Getenv("ROUSE_STRESS") != "" || i%days == turn {
			today = append(today, bad)
		}
	}
	return today
}

// TestKnownBadBuildsAreCaught: the tests have to notice each fault, by the test of the promise that it breaks. Without
// one the same tests have to pass, or they prove nothing; those that crash servers of their own only with ROUSE_STRESS, because
// the suite itself runs them too.
func TestKnownBadBuildsAreCaught(t *testing.T) {
	t.Parallel()
	knownBad := ofToday()
	sound, suites := map[string]string{}, map[string]string{} // by package, and by fault; before all runs, which the builds would slow down
	for _, in := range []string{integration, face} {
		sound[in] = buildSuite(t, in)
	}
	for _, bad := range knownBad {
		suites[bad.fault] = buildSuite(t, bad.in, Overlay(t, checkout.Root(t), bad.fault))
	}
	server := testdb.Empty(t).URL // one server for all of them

	tests := map[string][]string{} // by package
	for _, bad := range knownBad {
		test, _, _ := strings.Cut(bad.test, "/")
		if !slices.Contains(tests[bad.in], test) && (os.Getenv("ROUSE_STRESS") != "" || !strings.Contains(test, "Crash")) {
			tests[bad.in] = append(tests[bad.in], test)
		}
	}
	for in, name := range map[string]string{integration: "none", face: "none of the face"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := runSuite(t, in, sound[in], server, strings.Join(tests[in], "|"), time.Minute)
			require.NoError(t, err, out)
			for _, test := range tests[in] {
				require.Contains(t, out, "--- PASS: "+test)
			}
		})
	}
	for _, bad := range knownBad {
		t.Run(bad.fault, func(t *testing.T) {
			t.Parallel()
			var out string
			var err error
			says := regexp.MustCompile(bad.says)
			// A busy machine may need more time to come to the point, and where two have to meet they may pass each other. What no
			// test notices passes each time.
			for _, patience := range []time.Duration{10 * time.Second, time.Minute, time.Minute, time.Minute} {
				out, err = runSuite(t, bad.in, suites[bad.fault], server, bad.test, patience)
				if err != nil && says.MatchString(out) {
					break
				}
			}
			test, _, _ := strings.Cut(bad.test, "/")
			require.Error(t, err, "the fault passes %s:\n%s", bad.test, out)
			require.Contains(t, out, "--- FAIL: "+test)
			require.Regexp(t, says, out)
		})
	}
}

// integration is where the integration tests are, and face is the root package.
const (
	integration = "../integration"
	face        = "../.."
)

// buildSuite builds the tests of a package, with more flags.
func buildSuite(t *testing.T, in string, flags ...string) string {
	t.Helper()
	suite := filepath.Join(t.TempDir(), "suite"+checkout.Suffix)
	checkout.Go(t, in, append(append([]string{"test", "-c", "-vet=off", "-ldflags=-w", "-o", suite}, flags...), ".")...)
	return suite
}

// runSuite runs tests, joined by |, or a single one with its subtest behind a slash.
func runSuite(t *testing.T, in, suite, server, tests string, patience time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	tests, sub, _ := strings.Cut(tests, "/")
	cmd := exec.CommandContext(ctx, suite, "-test.run", "^("+tests+")$/"+sub, "-test.v", "-test.timeout", "8m", "-test.parallel", "2")
	cmd.Dir = in
	cmd.Env = append(os.Environ(), workertest.PatienceEnv+"="+patience.String(), testdb.EnvURL+"="+server)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestEachFaultHasATest: none is left out above, and each fits the product.
func TestEachFaultHasATest(t *testing.T) {
	t.Parallel()
	caught := []string{Demo}
	for _, bad := range knownBad {
		caught = append(caught, bad.fault)
	}
	assert.ElementsMatch(t, Names(), caught)
	assert.Len(t, knownBad, 15)
	for _, fault := range Names() {
		_, err := changed(checkout.Root(t), fault)
		assert.NoError(t, err)
	}
}

// TestChangeThatDoesNotFitIsNamed: the text is gone, is there twice, or the file is there that is to be added.
func TestChangeThatDoesNotFitIsNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "a.go"), []byte("one two two"), 0o600))
	for _, tc := range []struct {
		change change
		says   string
	}{
		{change{"a.go", "three", "3"}, "a.go has this text 0 times instead of once:\nthree"},
		{change{"a.go", "two", "2"}, "a.go has this text 2 times instead of once:\ntwo"},
		{change{"a.go", "", "new"}, "a.go, which it adds, is there"},
		{change{"b.go", "one", "1"}, "b.go"},
	} {
		_, err := tc.change.apply(root, nil)
		require.ErrorContains(t, err, tc.says)
	}
	text, err := change{"a.go", "one", "1"}.apply(root, nil)
	require.NoError(t, err)
	require.Equal(t, "1 two two", text)
	_, err = changed(root, "unprobed")
	require.ErrorContains(t, err, "change 1 of the fault unprobed does not fit the product any more")
}

// TestOrdinaryBuildsHaveNoFaults: the command has all of the product in it, and none of the faults; nor has its source any place
// for them.
func TestOrdinaryBuildsHaveNoFaults(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	const fault = "which tests nothing"
	ordinary := checkout.Rouse(t)
	assert.True(t, holds(t, ordinary, "pg_try_advisory_lock_shared"), "the statements of the product must be in the binary, or looking proves nothing")
	assert.False(t, holds(t, ordinary, fault))
	assert.True(t, holds(t, checkout.Rouse(t, Overlay(t, root, "unfenced")), fault), "looking for faults in the binary must find them")
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path != root && strings.HasPrefix(entry.Name(), ".") || slices.Contains([]string{filepath.Join(root, "test"), filepath.Join(root, "scripts")}, path)):
			return fs.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".go", ".sql"}, filepath.Ext(path)):
			return nil
		}
		for _, word := range []string{"rousefault", "knownbad", "ROUSE_KNOWN_BAD"} {
			assert.False(t, holds(t, path, word), "%s speaks of %s", path, word)
		}
		return nil
	}))
}

// holds reports whether a file contains a text.
func holds(t *testing.T, file, text string) bool {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return bytes.Contains(content, []byte(text))
}

// TestDemoFindsWhatIsMissing: a build whose projection leaves out every thousandth event must be found out.
func TestDemoFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	binary := checkout.Rouse(t, Overlay(t, checkout.Root(t), Demo))
	db := testdb.Empty(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "demo", "--duration", "2s", "--rate", "1000", "--workers", "1", "--patience", "1m", "--keep", "--json")
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &stdout, &stderr
	cmd.Env = append(workertest.Environ(), "DATABASE_URL="+db.URL)
	err := cmd.Run()
	require.Equal(t, 6, cmd.ProcessState.ExitCode(), "%v\n%s%s", err, &stdout, &stderr)

	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var verdict struct {
		Lost, Doubled, Stray int64
		OutOfOrder           int64 `json:"out_of_order"`
		Right                bool
		Kept                 string
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &verdict))
	var skipped int64
	require.NoError(t, db.Pool.QueryRow(ctx, "select count(*) from "+pgx.Identifier{verdict.Kept, "events"}.Sanitize()+
		" where global_position % 1000 = 0").Scan(&skipped))
	assert.False(t, verdict.Right)
	assert.Positive(t, verdict.Lost)
	assert.Equal(t, skipped, verdict.Lost)
	assert.Zero(t, verdict.Doubled+verdict.OutOfOrder+verdict.Stray)
	assert.Regexp(t, `(?m)^rouse: the read model does not agree with the log`, stderr.String())
}
