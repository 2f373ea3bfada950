package cli

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// ofTest is a program, for what needs no process of its own.
func ofTest() Program { return Program{Name: "rouse", Commands: Verbs()} }

// asCommand makes the test binary be the program itself, so that the tests run it as real processes.
const asCommand = "ROUSE_TEST_AS_COMMAND"

// program is the package of the program, as this folder sees it.
const program = "../../cmd/rouse"

const processTimeout = 2 * time.Minute

// startRouse starts rouse with only those variables of this process that do not concern it, and kills it at the end of the test.
func startRouse(t testing.TB, env []string, args ...string) *workertest.Program {
	t.Helper()
	return startWith(t, nil, env, args...)
}

// startWith is startRouse with another end of standard error; nil: the process keeps it.
func startWith(t testing.TB, stderr *os.File, env []string, args ...string) *workertest.Program {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(workertest.Environ(), asCommand+"=1"), env...)
	cmd.Dir = t.TempDir()
	if stderr != nil {
		cmd.Stderr = stderr
	}
	return workertest.StartProgram(t, cmd)
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func runRouse(t testing.TB, env []string, args ...string) result {
	t.Helper()
	p := startRouse(t, env, args...)
	code := p.Wait(t)
	return result{code, p.Stdout.String(), p.Stderr.String()}
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
