package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// childStopTimeout is how long a child may take to stop in order: the batch in hand of a worker, and its farewell.
const childStopTimeout = 20 * time.Second

// child is a process of the same program. It stops in order when its standard input ends, so it cannot outlive this process.
// It is in a process group of its own, so that Ctrl+C at a terminal reaches this process only.
type child struct {
	name     string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	output   *lastLines
	expected atomic.Bool   // it was told to end
	done     chan struct{} // closed after its end
	err      error         // how it ended; valid once done is closed
}

// startChild runs this program again. Its log is kept for the case that it fails. stdout may be nil. The caller must stop or
// kill it.
func startChild(name string, env []string, stdout *os.File, args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program to start %s: %w", name, err)
	}
	c := &child{name: name, cmd: exec.Command(program, args...), output: &lastLines{}, done: make(chan struct{})}
	c.cmd.Env, c.cmd.Stderr, c.cmd.SysProcAttr = env, c.output, ownGroup()
	if stdout != nil {
		c.cmd.Stdout = stdout
	}
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// tell tells the child to stop in order, and does not wait. It may be called more than once.
func (c *child) tell() {
	c.expected.Store(true)
	_ = c.stdin.Close() // it may have ended
}

// stop ends the child in order and waits for it; after the time it is killed. The error says how it ended, if not well.
func (c *child) stop(within time.Duration) error {
	c.tell()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.kill()
		return fmt.Errorf("%s did not stop within %s and was killed", c.name, within)
	}
	if c.err != nil {
		return fmt.Errorf("%s ended with %w when it was told to stop", c.name, c.err)
	}
	return nil
}

// kill ends the child at once, by SIGKILL, and waits for it.
func (c *child) kill() {
	c.expected.Store(true)
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.done
}

// childError is what a child of this program said of its failure, with its exit code.
type childError struct {
	code     int
	sentence string
}

func (e *childError) Error() string { return e.sentence }

// lastLines keeps the end of what a child writes. Safe for concurrent use.
type lastLines struct {
	mu      sync.Mutex // protects the fields below
	lines   []string
	partial string
}

const (
	keptLines = 12

	// longestLine cuts a line that never ends.
	longestLine = 16 << 10
)

// Write implements io.Writer and never fails.
func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := strings.Split(l.partial+string(p), "\n")
	l.partial = clip(parts[len(parts)-1], longestLine)
	l.lines = append(l.lines, parts[:len(parts)-1]...)
	l.lines = slices.Clone(l.lines[max(len(l.lines)-keptLines, 0):])
	return len(p), nil
}

// all returns the last lines.
func (l *lastLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.Clone(l.lines)
	if l.partial != "" {
		lines = append(lines, l.partial)
	}
	return lines
}

// sentence is what a rouse that failed says of it, in the last line of its output.
func (l *lastLines) sentence() string {
	lines := l.all()
	if len(lines) == 0 {
		return "it said nothing"
	}
	return strings.TrimPrefix(lines[len(lines)-1], "rouse: ")
}
