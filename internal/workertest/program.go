package workertest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-es/rouse/internal/testdb"
)

// Program is a program that runs in a process of its own, until it ends or its test does. Its methods are for the goroutine of a test.
type Program struct {
	// Stdout and Stderr have what it has written.
	Stdout, Stderr Output
	// Exited is closed once it has ended and what it has written is there.
	Exited chan struct{}

	cmd *exec.Cmd
}

// Output is what a program has written so far. It can be read while the program writes. The zero value is empty.
type Output struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Environ returns the variables of this process that do not concern a program which works on a database.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "ROUSE_") && name != "ROUSE_PG_BIN" ||
			name == "DATABASE_URL" || strings.HasSuffix(name, "WORKER_ID") || name == "TOTAL_WORKERS"
	})
}

// Build is a command that builds something as `make build` does, so that the tests compile what programs are built of once. It lets the
// tests beside it go first: a build takes every processor for a while, and then what they wait for would come late.
func Build(ctx context.Context, name string, args ...string) *exec.Cmd {
	if nice, err := exec.LookPath("nice"); err == nil {
		name, args = nice, append([]string{"-n", "19", name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath"))
	return cmd
}

// StartProgram starts cmd, which says what to run, where and with which environment, and where standard error goes if not to Stderr. At
// the end of the test it is killed, and what it has written is shown if the test has failed.
func StartProgram(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{Exited: make(chan struct{}), cmd: cmd}
	cmd.Stdout = &p.Stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &p.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Exited)
		_ = cmd.Wait() // the exit code is asked for later
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error means that it has ended
		<-p.Exited
		if t.Failed() {
			t.Logf("%s: exit code %d\n%s%s", strings.Join(cmd.Args, " "), cmd.ProcessState.ExitCode(), &p.Stdout, &p.Stderr)
		}
	})
	return p
}

// PID returns the id of the process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Wait waits for the end of the program and returns its exit code.
func (p *Program) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.Exited:
	case <-time.After(Patience):
		t.Fatalf("%v does not end", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal, unless the program has ended.
func (p *Program) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// servingAt finds where a program serves in what it logs.
var servingAt = regexp.MustCompile(`"address":"([^"]+)"`)

// Address waits until the program serves HTTP, and returns where.
func (p *Program) Address(t testing.TB) (base string) {
	t.Helper()
	testdb.Eventually(t, Patience, "the program to serve", func() (bool, error) {
		found := servingAt.FindStringSubmatch(p.Stderr.String())
		if found != nil {
			base = "http://" + found[1]
		}
		return found != nil, nil
	})
	return base
}
