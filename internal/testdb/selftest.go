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

// RunBinary runs one test of this binary in another process, with more
// environment, and returns its output and status.
func RunBinary(t testing.TB, test string, env ...string) (output string, status int) {
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

// Recorder is a test that may fail without failing the real one, for the tests of what helps tests.
type Recorder struct {
	testing.TB // the real one, for what is not recorded

	mu       sync.Mutex // protects following fields
	Failures []string   // of Errorf, Fatalf and Fatal
	Ended    bool       // by Fatalf or Fatal
	cleanups []func()
}

// Helper does nothing.
func (r *Recorder) Helper() {}

// Errorf records a failure.
func (r *Recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// Fatalf records a failure and ends the test.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.Ended = true
	runtime.Goexit()
}

// Fatal records a failure and ends the test.
func (r *Recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// Cleanup has f called at the end of the test, the last one first.
func (r *Recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Record runs f as a test with its own end, and returns what it would have failed with.
func Record(t testing.TB, f func(t testing.TB)) *Recorder {
	r := &Recorder{TB: t}
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
