// Package process runs parts of a test in processes of their own, which can be killed, frozen and told to stop. They are
// copies of the test binary in a role:
//
//	func TestMain(m *testing.M) {
//		process.Play(map[string]func() int{"worker": worker})
//		testdb.Main(m)
//	}
//
// A process ends with the test that started it, as long as it reads its standard input (OutliveNobody).
package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// roleEnv names the part that a copy of the test binary plays. It is set for children only.
const roleEnv = "ROUSE_TEST_ROLE"

// Patience is how long a process may take to start or to end, on a machine that is busy with other tests.
const Patience = time.Minute

// Lines that a process reports on its standard output and that mean something here.
const (
	// Ready says that the process takes signals now.
	Ready = "ready"
	// Started says that it is at work.
	Started = "started"
)

// Play makes this process the one that a test has started, if it is one, with the main function of its role, which returns
// the exit code. Otherwise it does nothing.
func Play(roles map[string]func() int) {
	role := os.Getenv(roleEnv)
	if role == "" {
		return
	}
	run, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role is named %s\n", role)
		os.Exit(2)
	}
	os.Exit(run())
}

// Command is a copy of this binary in one of the roles, not started yet. env is added to this process's environment.
func Command(t testing.TB, role string, env ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), env...), roleEnv+"="+role)
	return cmd
}

// OutliveNobody ends this process when the test does that started it, whose end closes standard input. It belongs at the
// beginning of a role.
func OutliveNobody() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
}

// Worker is what Work runs, such as a *rouse.Worker.
type Worker interface {
	Started() <-chan struct{}
	Run(ctx context.Context) error
}

// Work runs a worker to its end, and reports Started once it is at work.
func Work(ctx context.Context, w Worker) error {
	ended, announced := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(announced)
		select {
		case <-w.Started():
			fmt.Println(Started)
		case <-ended:
		}
	}()
	err := w.Run(ctx)
	close(ended)
	<-announced
	return err
}

// Options say how a process is watched. The zero value is fine.
type Options struct {
	// Note is called for each line that the process reports besides Ready and Started, on a goroutine of the process.
	Note func(line string)
	// MayNotStart takes an end before Started as no fault: a worker does not start without its database, and whoever keeps
	// it running tries again.
	MayNotStart bool
}

// Process is one process of a test. A goroutine belongs to it, which ends with the process. A process that ends without being
// told to, or that has a data race, fails the test.
type Process struct {
	// Name is for messages.
	Name string
	// Log has the end of what the process wrote to standard error.
	Log *Tail
	// Ready, Started and Exited are closed when that happens.
	Ready, Started, Exited chan struct{}

	t       testing.TB
	cmd     *exec.Cmd
	options Options
	stdin   io.Closer // its end is the end of the process

	mu    sync.Mutex // protects ended
	ended bool       // the test has asked for its end
	err   error      // how it ended; good once Exited is closed
}

// Start starts a process.
func Start(t testing.TB, cmd *exec.Cmd, name string, options Options) (*Process, error) {
	p := &Process{
		Name: name, Log: &Tail{}, t: t, cmd: cmd, options: options,
		Ready: make(chan struct{}), Started: make(chan struct{}), Exited: make(chan struct{}),
	}
	cmd.Stderr = p.Log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.Exited)
		p.listen(stdout)
		p.err = cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended && !p.forgiven() {
			t.Errorf("%s ended by itself: %v\n%s", name, p.err, p.Log)
		}
		if strings.Contains(p.Log.String(), "DATA RACE") {
			t.Errorf("%s has a data race:\n%s", name, p.Log)
		}
	}()
	return p, nil
}

// listen reads reports until the process has ended.
func (p *Process) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == Ready:
			close(p.Ready)
		case line == Started:
			close(p.Started)
		case p.options.Note != nil:
			p.options.Note(line)
		}
	}
}

// forgiven tells whether the end of the process may be one that nobody asked for.
func (p *Process) forgiven() bool {
	select {
	case <-p.Started:
		return false
	default:
		return p.options.MayNotStart
	}
}

// Signal sends a signal that does not end the process. An error means that the process has ended.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// End sends a signal that ends the process.
func (p *Process) End(with os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	_ = p.cmd.Process.Signal(with) // an error means that it has ended already
}

// Kill kills the process (kill -9) and waits until it is gone.
func (p *Process) Kill() {
	p.End(os.Kill)
	<-p.Exited
}

// WantCleanExit waits for a process that was told to stop, and fails the test if it does not end with status 0. One that may
// not start may have ended otherwise before it had.
func (p *Process) WantCleanExit() {
	p.t.Helper()
	select {
	case <-p.Exited:
	case <-time.After(Patience):
		p.t.Errorf("%s did not stop within %v of SIGTERM\n%s", p.Name, Patience, p.Log)
		p.Kill()
		return
	}
	if p.err != nil && !p.forgiven() {
		p.t.Errorf("%s did not stop cleanly: %v\n%s", p.Name, p.err, p.Log)
	}
}

// Tail keeps the end of what is written to it. Its zero value is empty; it may be used by several goroutines.
type Tail struct {
	mu  sync.Mutex // protects end
	end []byte
}

// Write implements io.Writer.
func (l *Tail) Write(p []byte) (int, error) {
	const most = 16 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, p...)
	if len(l.end) > 2*most {
		l.end = append(l.end[:0], l.end[len(l.end)-most:]...)
	}
	return len(p), nil
}

// String returns the last 16 kB or a little more.
func (l *Tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.end)
}
