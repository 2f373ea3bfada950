package cli

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// ofTest is a program, for what needs no process of its own.
func ofTest() Program { return Program{Name: "rouse", Commands: Verbs()} }

// asCommand makes the test binary be the program itself, so that the tests run it as real processes.
const asCommand = "ROUSE_TEST_AS_COMMAND"

// program is the package of the program, as this folder sees it.
const program = "../../cmd/rouse"

const processTimeout = 2 * time.Minute

// process is a running rouse.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr buffer
	done           chan struct{} // closed at its end
}

// buffer can be read while a process writes to it.
type buffer struct {
	mu sync.Mutex // protects the field below
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startRouse starts rouse with only those variables of this process that do not concern it, and kills it at the end of the test.
func startRouse(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, os.Args[0], env, args...)
}

// startProgram is startRouse for another build of the program.
func startProgram(t testing.TB, program string, env []string, args ...string) *process {
	t.Helper()
	return startWith(t, program, nil, env, args...)
}

// startWith is startProgram with another end of standard error; nil: the process keeps it.
func startWith(t testing.TB, program string, stderr *os.File, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), processTimeout)
	p := &process{cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "ROUSE_") && name != "DATABASE_URL" && !strings.HasSuffix(name, "WORKER_ID") && name != "TOTAL_WORKERS" ||
			name == "ROUSE_PG_BIN" {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, asCommand+"=1"), env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if stderr != nil {
		p.cmd.Stderr = stderr
	}
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is asked for later
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("rouse %s: exit code %d\n%s%s", strings.Join(args, " "), p.cmd.ProcessState.ExitCode(), &p.stdout, &p.stderr)
		}
	})
	return p
}

// wait returns the exit code.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(processTimeout):
		t.Fatalf("%v does not end", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func runRouse(t testing.TB, env []string, args ...string) result {
	t.Helper()
	p := startRouse(t, env, args...)
	code := p.wait(t)
	return result{code, p.stdout.String(), p.stderr.String()}
}

// on is the environment of a command that works on a database.
func on(db *testdb.DB) []string { return []string{"DATABASE_URL=" + db.URL} }

// mustRouse runs a command that must succeed, and returns what it printed.
func mustRouse(t testing.TB, db *testdb.DB, args ...string) string {
	t.Helper()
	r := runRouse(t, on(db), args...)
	require.Zero(t, r.code, "rouse %v: %s", args, r.stderr)
	return r.stdout
}

// requireFault checks that a command failed as it must: with its code, nothing on stdout, and on stderr, beside logs, one
// sentence that holds all of these.
func requireFault(t testing.TB, r result, code int, holds ...string) {
	t.Helper()
	var sentences []string
	for line := range strings.Lines(r.stderr) {
		if !strings.HasPrefix(line, "{") {
			sentences = append(sentences, strings.TrimSuffix(line, "\n"))
		}
	}
	require.Len(t, sentences, 1, "one sentence: %s", r.stderr)
	for _, part := range append(holds, "rouse: ") {
		assert.Contains(t, sentences[0], part)
	}
	assert.Equal(t, code, r.code, r.stderr)
	assert.Empty(t, r.stdout)
	for _, never := range []string{"goroutine ", "Usage:", "s3cret", "postgres://postgres"} {
		assert.NotContains(t, r.stderr, never)
	}
}

// with returns the URL of a database with another user or database.
func with(t testing.TB, address string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	change(u)
	return u.String()
}

// value reads one value.
func value[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&v), sql)
	return v
}

func mustExec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(context.Background(), sql, args...)
	require.NoError(t, err, sql)
}
