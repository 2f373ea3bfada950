//go:build unix

package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

var promises = []promise{
	{"BasicAddsUpWhatItAppends", testBasic},
	{"BasicAppliesTheMigrations", testMigrate},
	{"SingleWorkerHandlesEachEventOnceAcrossRestarts", testSingleWorker},
	{"StopResumeGoesOnWhereItWasStopped", testStopResume},
	{"MultipleProjectionsEachSeeEveryEvent", testMultiple},
	{"ScopedProjectionsGetOnlyTheirTypes", testScoped},
	{"RebuiltTakesThePlaceOfWhatIsWrong", testRebuilt},
	{"WorkerPoolSharesTheEvents", testWorkerPool},
	{"PartitionedWorkersKeepToTheirNumbers", testPartitioned},
	{"ReadYourWritesShowsEveryWriteOnTheNextPage", testReadYourWrites},
	{"WithLoggingTellsOfAFailureAndTheRecovery", testLogging},
	{"ScalingAndTheBuiltInProjectionTakeTurns", testTurns},
	{"ScalingHasTheReadModelOfTheBuiltInProjection", testSameReadModel},
	{"ScalingPrintsOnlyWhatWasCommitted", testCommitted},
	{"ScalingPrintsTheShareOfItsWorkerAsWorkersComeAndGo", testShares},
	{"ScalingAppendersMayRunAtOnce", testAppenders},
	{"ScalingRefusesInOneSentence", testRefusals},
}

func testReadYourWrites(s *scene) {
	require.Equal(s, "wrote 20 times, and the next page showed it 20 times\n", s.run("read-your-writes"))
}

func testBasic(s *scene) {
	require.Equal(s, "appended 3 events\nhandled 3 events\n  alice   12.50\n  bob      5.00\n", s.run("basic"))
	require.Equal(s, "appended 3 events\nhandled 3 events\n  alice   25.00\n  bob     10.00\n", s.run("basic"))
}

func testMigrate(s *scene) {
	empty := &scene{db: testdb.Empty(s.T), T: s.T, bin: s.bin}
	empty.fault(4, []string{"go generate", "rouse migrate"}, "basic")
	require.Regexp(s, `^applied [1-9]\d* migrations, the schema is at version \d+\n$`, empty.run("basic", "--migrate"))
	require.Regexp(s, `^applied 0 migrations, `, empty.run("basic", "--migrate"))
	require.Contains(s, empty.run("basic"), "handled 3 events")
}

func testSingleWorker(s *scene) {
	for range 2 {
		p := s.start("single-worker")
		s.run("scaling", "--append")
		p.prints(20, ": UserSeen of user/")
		require.Equal(s, "stopped after 20 events", p.interrupt())
		require.Len(s, p.lines("position "), 20)
	}
	require.Equal(s, 40, s.int("select events from single_worker_types where event_type = 'UserSeen'"))
}

func testStopResume(s *scene) {
	require.Equal(s, "appended versions 1 to 20\n", s.run("stop-resume", "--mode=append"))
	require.Contains(s, s.run("stop-resume", "--mode=status"), "appended 20, handled 0, left 20;")
	first := s.start("stop-resume", "--mode=process")
	first.prints(3, "step ")
	first.interrupt()
	n := len(first.lines("step "))
	require.Less(s, n, 20, "it was stopped in the middle")
	require.Equal(s, fmt.Sprintf("appended 20, handled %d, left %d; rows in the read model %d, of different events %d\n", n, 20-n, n, n),
		s.run("stop-resume", "--mode=status"))
	second := s.start("stop-resume", "--mode=process")
	second.prints(1, "step 20")
	second.interrupt()
	require.Len(s, second.lines("step "), 20-n)
	require.Contains(s, s.run("stop-resume", "--mode=status"), "appended 20, handled 20, left 0; rows in the read model 20, of different events 20")
	s.fault(1, []string{"append, status or process"}, "stop-resume", "--mode=sideways")
}

func testRebuilt(s *scene) {
	require.Equal(s, "with the bug: 15 pens\nrebuilt: 5 pens\n", s.run("rebuilt"))
	require.Equal(s, "with the bug: 20 pens\nrebuilt: 10 pens\n", s.run("rebuilt"), "what the bug has done since")
}

func testMultiple(s *scene) {
	s.run("scaling", "--append") // which none of them wants
	for n := 1; n <= 2; n++ {
		out := s.run("multiple-projections")
		assert.Equal(s, 3, strings.Count(out, "mail: "), out)
		assert.True(s, strings.HasSuffix(out, fmt.Sprintf("orders of alice: %d\norders of bob: %d\nrevenue in cents of EUR: %d\n", 2*n, n, 6449*n)), out)
	}
	assert.Equal(s, 3, s.int("select count(*) from projections"))
}

func testScoped(s *scene) {
	s.run("scaling", "--append") // which none of them wants
	for n := 1; n <= 2; n++ {
		assert.Equal(s, fmt.Sprintf(`scoped_orders        got %d ScopedPaid of scoped-order
scoped_orders        got %d ScopedPlaced of scoped-order
scoped_paid          got %d ScopedPaid of scoped-order
scoped_registrations got %d ScopedRegistered of scoped-user
`, n, 2*n, n, n), s.run("scoped"))
	}
}

func testWorkerPool(s *scene) {
	for n, workers := range []int{4, 2} {
		out := s.run("worker-pool", "--workers", strconv.Itoa(workers))
		total := 0
		for _, m := range regexp.MustCompile(`worker \d of \d handled (\d+) events`).FindAllStringSubmatch(out, -1) {
			events, err := strconv.Atoi(m[1])
			require.NoError(s, err)
			require.Positive(s, events, out)
			total += events
		}
		require.Equal(s, 400, total, out)
		require.Equal(s, workers, strings.Count(out, "\n"))
		require.Equal(s, 100, s.int("select count(*) from pool_items where events = $1", 4*(n+1)))
	}
	s.fault(1, []string{"--workers 5: from 1 to 4"}, "worker-pool", "--workers", "5")
}

func testPartitioned(s *scene) {
	s.run("scaling", "--append")
	workers := []*program{s.start("WORKER_ID=0", "TOTAL_WORKERS=2", "partitioned"), s.start("WORKER_ID=web-1", "TOTAL_WORKERS=2", "partitioned")}
	testdb.Eventually(s, patience, "all to be handled", func() (bool, error) {
		return len(workers[0].lines(": UserSeen"))+len(workers[1].lines(": UserSeen")) >= 20, nil
	})
	total := 0
	for i, p := range workers {
		require.Equal(s, fmt.Sprintf("[Worker %d] stopped after %d events", i, len(p.lines(": UserSeen"))), p.interrupt())
		require.NotEmpty(s, p.lines(": UserSeen"))
		for _, line := range p.lines(": UserSeen") {
			require.Regexp(s, fmt.Sprintf(`^\[Worker %d\] partition [%s]: UserSeen of user/\S+, version 1$`, i, []string{"0246", "1357"}[i]), line)
			total++
		}
	}
	require.Equal(s, 20, total)
	require.Equal(s, 20, s.int("select sum(events) from partitioned_counts where partition % 2 = worker"))
	s.fault(1, []string{"TOTAL_WORKERS", "WORKER_ID=0 TOTAL_WORKERS=2"}, "WORKER_ID=0", "partitioned")
	s.fault(64, []string{"2 is not below the 2 workers"}, "WORKER_ID=2", "TOTAL_WORKERS=2", "partitioned")
}

func testLogging(s *scene) {
	p := s.start("with-logging")
	require.Zero(s, p.Wait(s))
	for _, line := range []string{"logging_notes has failed at 3 events", "logging_notes has committed 1 events", "logging_notes is live"} {
		assert.NotEmpty(s, p.lines(line), line)
	}
	assert.Contains(s, p.Stderr.String(), `"level":"warn"`)
	assert.Contains(s, p.Stderr.String(), `"program":"with-logging"`)
	assert.Equal(s, 3, s.int("select sum(events) from logging_notes"))
}

// TestEveryExampleIsExplained: each folder has a README, each README says how to run its example, and the list has them all.
func TestEveryExampleIsExplained(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("README.md")
	require.NoError(t, err)
	programs, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(programs), 9)
	for _, program := range programs {
		name := filepath.Dir(program)
		assert.Contains(t, string(list), "]("+name+")")
		readme, err := os.ReadFile(filepath.Join(name, "README.md"))
		require.NoError(t, err)
		assert.Contains(t, string(readme), "go run ")
	}
}
