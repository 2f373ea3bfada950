//go:build unix

// Package examples_test runs every example as a newcomer does: as a process, with its flags and variables, until Ctrl+C.
package examples_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// patience bounds everything that a test waits for.
const patience = time.Minute

func TestMain(m *testing.M) { testdb.Main(m) }

// promise is one test of one example.
type promise struct {
	name string
	test func(s *scene)
}

func TestExamples(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	out, err := workertest.Build(ctx, "go", "build", "-o", bin+string(filepath.Separator), "./...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(&scene{db: testdb.New(t), T: t, bin: bin})
		})
	}
}

// scene is a database with the schema, and the programs that were built.
type scene struct {
	db *testdb.DB
	*testing.T
	bin string
}

// program is an example that runs.
type program struct {
	*workertest.Program
	s *scene
}

// start starts a program. The words before its name are variables; of those of this process it gets none that concern it.
func (s *scene) start(words ...string) *program {
	s.Helper()
	env := []string{"DATABASE_URL=" + s.db.URL}
	for strings.Contains(words[0], "=") {
		env, words = append(env, words[0]), words[1:]
	}
	cmd := exec.Command(filepath.Join(s.bin, words[0]), words[1:]...)
	cmd.Env = append(workertest.Environ(), env...)
	return &program{workertest.StartProgram(s, cmd), s}
}

// run runs a program that ends by itself, without a fault, and returns what it printed.
func (s *scene) run(words ...string) string {
	s.Helper()
	p := s.start(words...)
	require.Zero(s, p.Wait(s), "%s", &p.Stderr)
	return p.Stdout.String()
}

// lines are the whole lines printed so far that contain a text.
func (p *program) lines(text string) (all []string) {
	for line := range strings.Lines(p.Stdout.String()) {
		if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return all
}

// prints waits for so many lines that contain a text.
func (p *program) prints(n int, text string) {
	p.s.Helper()
	testdb.Eventually(p.s, patience, fmt.Sprintf("%d lines with %q", n, text), func() (bool, error) { return len(p.lines(text)) >= n, nil })
}

// interrupt is Ctrl+C. The program must end in order, and its last line is returned.
func (p *program) interrupt() string {
	p.s.Helper()
	select {
	case <-p.Exited:
		require.FailNow(p.s, "it has ended before")
	default:
	}
	p.Signal(p.s, syscall.SIGINT)
	require.Zero(p.s, p.Wait(p.s), "%s", &p.Stderr)
	all := p.lines("")
	return all[len(all)-1]
}

// fault runs a program that must refuse: with a status, and one sentence on stderr that holds these parts.
func (s *scene) fault(code int, parts []string, words ...string) {
	s.Helper()
	p := s.start(words...)
	require.Equal(s, code, p.Wait(s), "%s", &p.Stderr)
	require.Equal(s, 1, strings.Count(p.Stderr.String(), "\n"), "one line: %s", &p.Stderr)
	for _, part := range parts {
		require.Contains(s, p.Stderr.String(), part)
	}
	require.NotContains(s, p.Stderr.String(), "s3cret")
	require.Empty(s, p.Stdout.String())
}

// int is the one number that a query returns.
func (s *scene) int(sql string, args ...any) (n int) {
	s.Helper()
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), sql, args...).Scan(&n), sql)
	return n
}

func (s *scene) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.db.Pool.Exec(s.Context(), sql, args...)
	require.NoError(s, err, sql)
}
