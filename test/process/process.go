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
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rouse-es/rouse/internal/process"
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
	// MayExit is the status with which the process may end by itself at any time; 0: none.
	MayExit int
}

// Process is one process of a test. A goroutine belongs to it, which ends with the process. A process that ends without being
// told to, or that has a data race, fails the test.
type Process struct {
	// Name is for messages.
	Name string
	// Log has the end of what the process wrote to standard error.
	Log *process.Lines
	// Ready, Started and Exited are closed when that happens.
	Ready, Started, Exited chan struct{}

	t       testing.TB
	child   *process.Process
	options Options
}

// keptLines is how many lines of its log a process that failed shows: a report of the race detector is longer than one screen.
const keptLines = 500

// Start starts a process.
func Start(t testing.TB, cmd *exec.Cmd, name string, options Options) (*Process, error) {
	p := &Process{
		Name: name, Log: &process.Lines{Keep: keptLines}, t: t, options: options,
		Ready: make(chan struct{}), Started: make(chan struct{}), Exited: make(chan struct{}),
	}
	cmd.Stdout = &process.Lines{Each: p.reported}
	var err error
	if p.child, err = process.Start(cmd, name, process.Options{Output: p.Log}); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.Exited)
		err := p.child.Wait()
		if !p.child.Expected() && !p.forgiven() && !p.mayEnd(err) {
			t.Errorf("%s ended by itself: %v\n%s", name, err, p.Log)
		}
		if strings.Contains(p.Log.String(), "DATA RACE") {
			t.Errorf("%s has a data race:\n%s", name, p.Log)
		}
	}()
	return p, nil
}

// reported takes one line of what the process reports.
func (p *Process) reported(line string) {
	switch {
	case line == Ready:
		close(p.Ready)
	case line == Started:
		close(p.Started)
	case p.options.Note != nil:
		p.options.Note(line)
	}
}

// forgiven reports whether the end of the process may be one that nobody asked for.
func (p *Process) forgiven() bool {
	select {
	case <-p.Started:
		return false
	default:
		return p.options.MayNotStart
	}
}

// mayEnd reports whether err is the end by Options.MayExit.
func (p *Process) mayEnd(err error) bool {
	var exit *exec.ExitError
	return p.options.MayExit != 0 && errors.As(err, &exit) && exit.ExitCode() == p.options.MayExit
}

// Signal sends a signal that does not end the process. An error means that the process has ended.
func (p *Process) Signal(s os.Signal) error { return p.child.Signal(s) }

// End sends a signal that ends the process.
func (p *Process) End(with os.Signal) { p.child.End(with) }

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
	if err := p.child.Wait(); err != nil && !p.forgiven() && !p.mayEnd(err) {
		p.t.Errorf("%s did not stop cleanly: %v\n%s", p.Name, err, p.Log)
	}
}
