// Package browser_test looks at the dashboard as people do: in a real browser.
package browser_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	processTimeout = 2 * time.Minute
	// tokenVariable holds the token of --http.
	tokenVariable = "ROUSE_HTTP_TOKEN"
)

// servingAt finds where a process serves in what it logs.
var servingAt = regexp.MustCompile(`"address":"([^"]+)"`)

// program is the command, on a database.
type program struct {
	binary string
	db     *testdb.DB
}

// newProgram builds the command for a database of its own.
func newProgram(t *testing.T) program {
	t.Helper()
	return program{checkout.Rouse(t), testdb.New(t)}
}

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

// start starts rouse with only those variables of this process that do not concern it, and kills it at the end of the test.
func (p program) start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), processTimeout)
	r := &process{cmd: exec.CommandContext(ctx, p.binary, args...), done: make(chan struct{})}
	r.cmd.Env = append(append(checkout.Environ(), "DATABASE_URL="+p.db.URL), env...)
	r.cmd.Dir = t.TempDir()
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	require.NoError(t, r.cmd.Start())
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // the exit code is asked for later
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
		if t.Failed() {
			t.Logf("rouse %s: exit code %d\n%s%s", strings.Join(args, " "), r.cmd.ProcessState.ExitCode(), &r.stdout, &r.stderr)
		}
	})
	return r
}

// must runs a command that must succeed.
func (p program) must(t *testing.T, args ...string) {
	t.Helper()
	r := p.start(t, nil, args...)
	require.Zero(t, r.wait(t), "rouse %v: %s", args, &r.stderr)
}

// wait returns the exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(processTimeout):
		t.Fatalf("%v does not end", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

// versions appends events of an aggregate.
func (p program) versions(t *testing.T, id string, from, to int) {
	t.Helper()
	p.exec(t, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'user', $1::text, n, 'UserRegistered', '{"name": "s3cret"}' from generate_series($2::int, $3::int) n`, id, from, to)
}

// handled is how many events of an aggregate the built-in projection has counted.
func (p program) handled(t *testing.T, id string) int {
	t.Helper()
	return value[int](t, p.db.Pool, "select coalesce(sum(events), 0)::int from scaling_activity where aggregate_id = $1", id)
}

func (p program) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := p.db.Pool.Exec(context.Background(), sql, args...)
	require.NoError(t, err, sql)
}

// value reads one value.
func value[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&v), sql)
	return v
}
