//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// playing is a running demo with all that it must not leave behind.
type playing struct {
	*workertest.Program
	mark string     // in the environment of every process of it
	temp string     // where an embedded server has its folder
	db   *testdb.DB // nil: the server is embedded
}

// startDemo starts a demo on a given database, or on an embedded server if db is nil.
func startDemo(t *testing.T, db *testdb.DB, args ...string) *playing {
	t.Helper()
	temp, err := os.MkdirTemp("", "rouse-demo-test-") // t.TempDir is closed to the account that a server of root runs under
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(temp)) })
	require.NoError(t, os.Chmod(temp, 0o777|os.ModeSticky))
	s := &playing{mark: "ROUSE_TEST_MARK=" + temp, temp: temp, db: db}
	env := []string{s.mark, "TMPDIR=" + temp}
	if db != nil {
		env = append(env, on(db)...)
	}
	s.Program = startRouse(t, env, append([]string{"demo"}, args...)...)
	return s
}

// says waits for a text on standard output, a regular expression. A busy machine may leave out any single second.
func (s *playing) says(t *testing.T, text string) {
	t.Helper()
	testdb.Eventually(t, processTimeout, text, func() (bool, error) {
		select {
		case <-s.Exited:
			t.Fatalf("it ended instead of saying %q", text)
		default:
		}
		return regexp.MatchString(text, s.Stdout.String())
	})
}

// leavesNothing waits until no process, no folder and no schema is left. Where the demo itself ended in order, nothing may be
// left when it has.
func (s *playing) leavesNothing(t *testing.T, within time.Duration) {
	t.Helper()
	testdb.Eventually(t, within, "all processes, folders and schemas to go", func() (bool, error) {
		entries, err := os.ReadDir(s.temp)
		return len(entries) == 0 && len(marked(t, s.mark)) == 0 && (s.db == nil || demoSchemas(t, s.db) == 0), err
	})
}

// marked lists the processes that have a text in their environment.
func marked(t *testing.T, text string) (pids []int) {
	t.Helper()
	if entries, err := filepath.Glob("/proc/[0-9]*/environ"); err == nil && len(entries) > 0 {
		for _, path := range entries {
			environ, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(environ), text) { // it may have ended
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				pids = append(pids, pid)
			}
		}
		return pids
	}
	out, err := exec.Command("ps", "-A", "-E", "-ww", "-o", "pid=,command=").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) {
			pid, _ := strconv.Atoi(strings.Fields(line)[0])
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestDemoIsStoppedInOrderAtAnyMoment: Ctrl+C ends it well, with a verdict if there is something to judge, and leaves nothing.
func TestDemoIsStoppedInOrderAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, moment := range []struct {
		name, says string
		embedded   bool
		args       []string
		verdict    bool
	}{
		{"while the server is started", "PostgreSQL is being started", true, nil, false},
		{"while the first events are appended to the server", "events are appended before", true, nil, false},
		{"while workers work on the server", " s  appended ", true, []string{"--duration", "0"}, true},
		{"when the schema is there", "everything happens in the schema", false, nil, false},
		{"while the first events are appended", "events are appended before", false, nil, false},
		{"while the workers start", " s  appended ", false, nil, true},
		{"while workers work", `[1-9] s  appended `, false, []string{"--duration", "0", "--workers", "1"}, true},
		{"while one is killed", "was killed with SIGKILL", false, []string{"--duration", "1s", "--workers", "2", "--patience", "1m"}, true},
		{"while one leaves", "is told to stop in order", false, []string{"--duration", "1s", "--workers", "2", "--patience", "1m"}, true},
		{"while one is frozen", "was frozen with SIGSTOP", false, []string{"--duration", "1s", "--workers", "2", "--patience", "1m"}, true},
		{"while the rest is handled", "the appender is stopped", false, []string{"--duration", "1s", "--workers", "1", "--patience", "1m"}, true},
	} {
		t.Run(moment.name, func(t *testing.T) {
			t.Parallel()
			var db *testdb.DB
			if !moment.embedded {
				db = testdb.Empty(t)
			}
			s := startDemo(t, db, moment.args...)
			s.says(t, moment.says)
			s.Signal(t, os.Interrupt)
			require.Zero(t, s.Wait(t))
			s.leavesNothing(t, 0)
			// A signal that comes early may find it a step further on than what it said last.
			assert.True(t, !moment.verdict || strings.Contains(s.Stdout.String(), "verdict: right:"), &s.Stdout)
			assert.NotContains(t, s.Stdout.String(), "WRONG")
			assert.Empty(t, s.Stderr.String())
		})
	}
}

// TestDemoThatIsStoppedTwiceLeavesNothing: the second signal ends it at once, in the middle of what it waits for.
func TestDemoThatIsStoppedTwiceLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{true, false} {
		t.Run(map[bool]string{true: "embedded server", false: "given database"}[embedded], func(t *testing.T) {
			t.Parallel()
			var db *testdb.DB
			if !embedded {
				db = testdb.Empty(t)
			}
			s := startDemo(t, db, "--duration", "0")
			s.says(t, `[1-9] s  appended `)
			release := s.blockWorkers(t)
			s.Signal(t, os.Interrupt)
			s.says(t, "the appender is stopped")
			testdb.Eventually(t, processTimeout, "the end after another signal", func() (bool, error) {
				s.Signal(t, os.Interrupt) // one that comes too soon belongs to the first
				select {
				case <-s.Exited:
					return true, nil
				default:
					return false, nil
				}
			})
			require.Equal(t, 130, s.Wait(t))
			release()
			s.leavesNothing(t, processTimeout)
		})
	}
}

// blockWorkers keeps the workers from writing, so that they are not done before they are let go again.
func (s *playing) blockWorkers(t *testing.T) (release func()) {
	t.Helper()
	address := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(s.Stdout.String())
	schema := "public"
	if s.db != nil {
		address = []string{"", s.db.URL}
		schema = regexp.MustCompile(`rouse_demo_\w+`).FindString(s.Stdout.String())
	}
	require.Len(t, address, 2)
	conn, err := pgx.Connect(t.Context(), address[1])
	require.NoError(t, err)
	for _, sql := range []string{"begin", "lock table " + pgx.Identifier{schema, "demo_log"}.Sanitize() + " in share mode"} {
		_, err = conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	return func() { database.Close(conn) }
}

// TestDemoThatIsKilledLeavesNothing: its processes notice, the server and its folder go, and so does the schema.
func TestDemoThatIsKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"events are appended before", " s  appended "} {
		for _, embedded := range []bool{true, false} {
			t.Run(strings.TrimSpace(moment)+map[bool]string{true: ", embedded server", false: ", given database"}[embedded], func(t *testing.T) {
				t.Parallel()
				var db *testdb.DB
				if !embedded {
					db = testdb.Empty(t)
				}
				s := startDemo(t, db, "--duration", "0")
				s.says(t, moment)
				s.Signal(t, os.Kill)
				s.Wait(t)
				s.leavesNothing(t, processTimeout)
			})
		}
	}
	t.Run("while a worker is frozen", func(t *testing.T) {
		t.Parallel()
		s := startDemo(t, testdb.Empty(t), "--duration", "1s", "--workers", "2", "--patience", "1m")
		s.says(t, "was frozen with SIGSTOP")
		s.Signal(t, os.Kill)
		s.Wait(t)
		s.leavesNothing(t, processTimeout)
	})
}

// TestDemoFailsWithAWorker: a worker that ends by itself fails the demo, which says which one, and leaves nothing. Its
// processes are out of the reach of a Ctrl+C at the terminal.
func TestDemoFailsWithAWorker(t *testing.T) {
	t.Parallel()
	s := startDemo(t, testdb.Empty(t), "--duration", "0", "--json")
	s.says(t, `"second":1`)
	first, _, _ := strings.Cut(s.Stdout.String(), "\n")
	worker := decode[demo.Frame](t, first).Workers[0].PID
	for _, pid := range marked(t, s.mark) {
		group, err := syscall.Getpgid(pid)
		require.NoError(t, err)
		assert.Equal(t, pid != s.PID(), group == pid, "process %d of group %d", pid, group)
	}
	require.NoError(t, syscall.Kill(worker, syscall.SIGKILL))
	require.Equal(t, 1, s.Wait(t))
	s.leavesNothing(t, 0)
	assert.Regexp(t, `(?m)^rouse: worker-0 ended by itself with signal: killed`, s.Stderr.String())
	assert.NotContains(t, s.Stdout.String(), `"right"`)
}

// TestDemoBringsItsOwnServer: with nothing but the program there is a server to look into, whatever PG* variables say, which
// stays with --keep and is gone after Ctrl+C.
func TestDemoBringsItsOwnServer(t *testing.T) {
	t.Parallel()
	p := startRouse(t, []string{"PGHOST=192.0.2.1", "PGSERVICE=none", "ROUSE_LISTEN_URL=postgres://192.0.2.1/x"}, "demo", "--duration", "1s", "--workers", "1", "--patience", "1m", "--keep")
	testdb.Eventually(t, processTimeout, "the end of the demo", func() (bool, error) {
		return strings.Contains(p.Stdout.String(), "stays until Ctrl+C"), nil
	})
	out := p.Stdout.String()
	assert.Contains(t, out, "does not look at PGHOST, PGSERVICE")
	assert.Contains(t, out, "verdict: right:")
	address := regexp.MustCompile(`stays until Ctrl\+C: psql '([^']+)'`).FindStringSubmatch(out)
	require.Len(t, address, 2)
	conn, err := pgx.Connect(t.Context(), address[1])
	require.NoError(t, err)
	var dataDir string
	require.NoError(t, conn.QueryRow(t.Context(), "select current_setting('data_directory')").Scan(&dataDir))
	database.Close(conn)
	require.DirExists(t, dataDir)

	p.Signal(t, os.Interrupt)
	require.Zero(t, p.Wait(t))
	_, err = pgx.Connect(t.Context(), address[1])
	require.Error(t, err)
	require.NoDirExists(t, dataDir)
}

// TestSchemaKeeper: it drops its schema when its input ends, also where nobody is left to hear from it, and no other schema.
func TestSchemaKeeper(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	keeper := func(name, told string) int {
		t.Helper()
		read, write, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, read.Close())
		defer write.Close()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "demo-schema", name)
		cmd.Env = append(os.Environ(), asCommand+"=1", "DATABASE_URL="+db.URL)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(told), write, write
		_ = cmd.Run() // the exit code says more
		return cmd.ProcessState.ExitCode()
	}
	assert.Zero(t, keeper("rouse_demo_1", ""))
	assert.Zero(t, demoSchemas(t, db))
	assert.Zero(t, keeper("rouse_demo_1", "keep\n"))
	assert.Equal(t, 1, demoSchemas(t, db))
	assert.Equal(t, 1, keeper("rouse_demo_1", ""), "it did not make this one")
	assert.Equal(t, 1, demoSchemas(t, db))
	assert.Equal(t, exitUsage, keeper("public", ""))
}
