package integration_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/knownbad"
	"github.com/rouse-es/rouse/internal/testdb"
)

// knownBad are the faults of internal/knownbad, each with the test that has to find it and what that test then says.
var knownBad = []struct{ fault, test, says string }{
	{"horizonless", "TestSlowCommitIsHandledInItsPlace", "what is above the hole must wait|Lost:(0x)?[1-9a-f]"},
	{"unfenced", "TestTwinsHandleEveryEventOnce", `Doubled:(0x)?[1-9a-f]`},
	{"client-fenced", "TestTwinsHandleEveryEventOnce", `Doubled:(0x)?[1-9a-f]`},
	{"remembered", "TestPositionsGivenOutAgainAfterACrashAreHandled", `Lost:(0x)?[1-9a-f]|r to reach the last event in all partitions`},
	{"idle-ahead", "TestIdleCheckpointsDoNotPassTheEventInTheHandler", `Lost:(0x)?[1-9a-f]`},
	{"unsettled", "TestAppendOpenAtTheArmingKeepsTheWorkerAwake", "the worker to go on reading"},
	{"unprobed", "TestDeafWorkerHearsAgain", "the worker to listen on another connection"},
	{"checkpoint-in-memory", "TestWorkLostInACrashIsDoneAgain", `Lost:(0x)?[1-9a-f]|r to reach the last event in all partitions`},
}

// faultVariable is put together when it is asked for, so that this binary does not contain it because of its tests.
func faultVariable() string { return strings.Join([]string{"ROUSE", "KNOWN", "BAD"}, "_") }

// TestKnownBadBuildsAreCaught: this suite, built with faults that can be turned on, has to notice each of them, by the test of
// the promise that it breaks. With none turned on the same tests have to pass, or they prove nothing; those that crash servers
// of their own only with ROUSE_STRESS, because the suite itself runs them too.
func TestKnownBadBuildsAreCaught(t *testing.T) {
	t.Parallel()
	if knownbad.Built {
		t.Skip("this is such a build")
	}
	suite := buildKnownBad(t)
	server := testdb.Empty(t).URL // one server for all of them

	var tests []string
	for _, bad := range knownBad {
		if !slices.Contains(tests, bad.test) && (os.Getenv("ROUSE_STRESS") != "" || !strings.Contains(bad.test, "Crash")) {
			tests = append(tests, bad.test)
		}
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		out, err := runKnownBad(t, suite, server, "", strings.Join(tests, "|"), time.Minute)
		require.NoError(t, err, out)
		for _, test := range tests {
			require.Contains(t, out, "--- PASS: "+test)
		}
	})
	for _, bad := range knownBad {
		t.Run(bad.fault, func(t *testing.T) {
			t.Parallel()
			var out string
			var err error
			says := regexp.MustCompile(bad.says)
			for _, patience := range []time.Duration{10 * time.Second, time.Minute} { // a busy machine may need more to come to the point
				out, err = runKnownBad(t, suite, server, bad.fault, bad.test, patience)
				if err == nil || says.MatchString(out) {
					break
				}
			}
			require.Error(t, err, "the fault passes %s:\n%s", bad.test, out)
			require.Contains(t, out, "--- FAIL: "+bad.test)
			require.Regexp(t, says, out)
		})
	}
}

// buildKnownBad builds this package's tests with the tag, and looks whether the faults are in there.
func buildKnownBad(t *testing.T) string {
	t.Helper()
	suite := filepath.Join(t.TempDir(), "suite")
	if runtime.GOOS == "windows" {
		suite += ".exe"
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "rousefault", "-o", suite, ".")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, holds(t, suite, faultVariable()), "the build has no faults to turn on, or looking for them in the binary does not work")
	return suite
}

func runKnownBad(t *testing.T, suite, server, fault, tests string, patience time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite, "-test.run", "^("+tests+")$", "-test.v", "-test.timeout", "4m", "-test.parallel", "2")
	cmd.Env = append(os.Environ(), faultVariable()+"="+fault, patienceEnv+"="+patience.String(), testdb.EnvURL+"="+server)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOrdinaryBuildsHaveNoFaults: this test binary has all of the product in it, and none of the faults.
func TestOrdinaryBuildsHaveNoFaults(t *testing.T) {
	t.Parallel()
	if knownbad.Built {
		t.Skip("this is no ordinary build")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	assert.True(t, holds(t, self, "pg_advisory_lock_shared"), "the statements of the product must be in the binary, or looking proves nothing")
	assert.False(t, holds(t, self, faultVariable()))
	assert.False(t, holds(t, self, strings.Join([]string{"A save that tests", "nothing"}, " ")))
}

// holds tells whether a file contains a text.
func holds(t *testing.T, file, text string) bool {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return bytes.Contains(content, []byte(text))
}
