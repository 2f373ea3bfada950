// Package process runs programs as children of this one. A child is told to stop in order by the end of its standard input,
// so a program that follows it cannot outlive this one, however this one ends. It is in a process group of its own, unless it
// has been given one, so that Ctrl+C at a terminal reaches this process first. It can be frozen and killed, and the last lines
// of what it has said are kept.
package process

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// Options say how a child is watched. The zero value is fine.
type Options struct {
	// Output gets what the child writes to standard error. Nil: a new one.
	Output *Lines

	// NoInput gives the child no standard input, which then does not tell it to stop.
	NoInput bool
}

// Process is one child. A goroutine belongs to it, which ends with the child. Its methods may be called by several goroutines.
type Process struct {
	// Name is for messages.
	Name string

	// Output has the end of what the child has written to standard error.
	Output *Lines

	// Exited is closed once the child has ended and its output has been read.
	Exited <-chan struct{}

	cmd      *exec.Cmd
	stdin    io.WriteCloser // nil with NoInput
	expected atomic.Bool    // the child was told to end
	err      error          // how it ended; valid once Exited is closed
}

// Start starts cmd, which says what to run, where, with which environment and where standard output goes. name is for
// messages. The caller must see to the end of the child.
func Start(cmd *exec.Cmd, name string, o Options) (*Process, error) {
	exited := make(chan struct{})
	p := &Process{Name: name, Output: o.Output, Exited: exited, cmd: cmd}
	if p.Output == nil {
		p.Output = &Lines{}
	}
	cmd.Stderr = p.Output
	OwnGroup(cmd)
	var err error
	if !o.NoInput {
		p.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(exited)
	}()
	return p, nil
}

// OwnGroup puts a command that has not been started into a process group of its own, unless it has been given one.
func OwnGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = ownGroup()
	}
}

// PID returns the id of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits for the end of the child and returns how it ended, as exec.Cmd.Wait does.
func (p *Process) Wait() error {
	<-p.Exited
	return p.err
}

// State waits for the end of the child and returns what the system says of it.
func (p *Process) State() *os.ProcessState {
	<-p.Exited
	return p.cmd.ProcessState
}

// Expected reports whether the child was told to end.
func (p *Process) Expected() bool { return p.expected.Load() }

// Say writes a line to the standard input of the child. A child that has ended does not get it.
func (p *Process) Say(line string) {
	_, _ = io.WriteString(p.stdin, line+"\n") // how the child ended says more
}

// Dismiss tells the child to stop in order, by the end of its standard input, and does not wait. It may be called more than
// once.
func (p *Process) Dismiss() {
	p.expected.Store(true)
	_ = p.stdin.Close() // it may have ended
}

// Stop ends the child in order and waits for it; after the time it is killed. The error says how it ended, if not well.
func (p *Process) Stop(within time.Duration) error {
	p.Dismiss()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.Exited:
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not stop within %s and was killed", p.Name, within)
	}
	if p.err != nil {
		return fmt.Errorf("%s ended with %w when it was told to stop", p.Name, p.err)
	}
	return nil
}

// Signal sends a signal. os.ErrProcessDone means that the child has ended.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Freeze stops the child where it stands (SIGSTOP). Should this process be gone before Thaw, the system ends the frozen one,
// because its process group is orphaned then.
func (p *Process) Freeze() error { return freeze(p.cmd.Process) }

// Thaw lets a frozen child go on (SIGCONT).
func (p *Process) Thaw() error { return thaw(p.cmd.Process) }

// End sends a signal that ends the child, and does not wait.
func (p *Process) End(with os.Signal) {
	p.expected.Store(true)
	_ = p.cmd.Process.Signal(with) // an error means that it has ended already
}

// Kill ends the child at once, by SIGKILL, and waits for it.
func (p *Process) Kill() {
	p.End(os.Kill)
	<-p.Exited
}
