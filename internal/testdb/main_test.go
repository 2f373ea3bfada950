package testdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// childEnv makes the test binary another one, as a test of Main needs it.
const childEnv = "ROUSE_TEST_TESTDB_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "leak" {
		go func() { select {} }()
	}
	Main(m)
}

// runBinary runs one test of this binary in another process, with more
// environment, and returns its output and status.
func runBinary(t *testing.T, test string, env ...string) (output string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("the test binary did not run: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// recorder is a test that may fail without failing the real one.
type recorder struct {
	testing.TB // the real one, for what is not recorded

	mu       sync.Mutex // protects following fields
	failures []string
	fatal    bool
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.fatal = true
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// record runs f as a test with its own end.
func record(t *testing.T, f func(t testing.TB)) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return r
}
