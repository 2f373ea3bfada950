//go:build unix

package signal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// child is what the test binary does as a real program under signals. Each line
// that it prints is a step that the test waits for.
func child(job string) (status int) {
	ctx, stop := Context(context.Background())
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	var cause *Error
	if !errors.As(context.Cause(ctx), &cause) {
		return 3
	}
	fmt.Println("stopping:", cause.Signal)
	switch job {
	case "orderly":
		return 0
	case "told":
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return 0
	case "restored":
		stop()
		fmt.Println("restored")
	}
	<-time.After(time.Minute) // hangs; the next signal has to end it
	return 4
}

// program is a running child.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	in    io.WriteCloser
}

// start starts a child, by means of these words before its command line.
func start(t *testing.T, job string, by ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	line := append(by, os.Args[0])
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "ROUSE_TEST_SIGNAL_CHILD="+job)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &program{t, cmd, bufio.NewScanner(out), in}
	p.says("ready")
	return p
}

func (p *program) says(line string) {
	p.t.Helper()
	require.True(p.t, p.lines.Scan(), "the program ended instead of saying %q", line)
	require.Equal(p.t, line, p.lines.Text())
}

func (p *program) signal(sig os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
}

// ends waits for the end of the program.
func (p *program) ends() syscall.WaitStatus {
	p.t.Helper()
	_ = p.cmd.Wait() // says the same as the state
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func TestProgram(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) { // as under nohup, and programs that are started inherit it
			continue
		}
		t.Run(fmt.Sprintf("FirstSignalStopsItInOrder/%v", sig), func(t *testing.T) {
			t.Parallel()
			p := start(t, "orderly")
			p.signal(sig)
			p.says("stopping: " + sig.String())
			require.Equal(t, 0, p.ends().ExitStatus())
		})
		t.Run(fmt.Sprintf("SecondSignalEndsItAtOnce/%v", sig), func(t *testing.T) {
			t.Parallel()
			p := start(t, "hangs")
			p.signal(os.Interrupt)
			p.says("stopping: interrupt")
			// An impatient person: too soon is still the first signal.
			impatience := time.NewTicker(echo / 4)
			defer impatience.Stop()
			ended := make(chan syscall.WaitStatus, 1)
			go func() { ended <- p.ends() }()
			for {
				select {
				case status := <-ended:
					require.Equal(t, ExitCode, status.ExitStatus())
					return
				case <-impatience.C:
					_ = p.cmd.Process.Signal(sig) // it may have ended
				}
			}
		})
		t.Run(fmt.Sprintf("EchoOfTheFirstSignalIsNotASecond/%v", sig), func(t *testing.T) {
			t.Parallel()
			// A machine that stands still between the two makes them two, and then there is another try.
			status := ExitCode
			for try := 0; try < 10 && status == ExitCode; try++ {
				p := start(t, "told")
				p.signal(sig)
				p.says("stopping: " + sig.String()) // or the system makes one of the two
				p.signal(sig)                       // as timeout(1) does: to the child, and then to its group
				_ = p.in.Close()                    // now it may end
				status = p.ends().ExitStatus()
			}
			require.Equal(t, 0, status)
		})
	}
	t.Run("WhatNohupStartedOutlivesItsTerminal", func(t *testing.T) {
		t.Parallel()
		p := start(t, "orderly", "nohup")
		p.signal(syscall.SIGHUP)
		p.signal(syscall.SIGTERM)
		p.says("stopping: " + syscall.SIGTERM.String())
		require.Equal(t, 0, p.ends().ExitStatus())
	})
	t.Run("AfterStopSignalsHaveTheirFormerEffect", func(t *testing.T) {
		t.Parallel()
		p := start(t, "restored")
		p.signal(os.Interrupt)
		p.says("stopping: interrupt")
		p.says("restored")
		p.signal(syscall.SIGTERM)
		require.Equal(t, syscall.SIGTERM, p.ends().Signal(), "ended by the signal itself, not by status 130")
	})
}
