//go:build unix

package pgserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// child is what the test binary does as a process that will be killed. It
// reports on its standard output and lives until then.
func child(job string) (status int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if strings.Contains(job, "deaf to SIGINT") {
		signal.Ignore(os.Interrupt) // and so are its children, as under nohup
	}
	fmt.Println("starting")
	s, err := Start(ctx, Config{DataDir: os.Getenv("ROUSE_TEST_PGSERVER_DATA"), Settings: unsynced()})
	switch {
	case err != nil:
	case strings.Contains(job, "paused"):
		err = s.Pause()
	case strings.Contains(job, "halted"):
		err = s.Halt(ctx)
	case strings.Contains(job, "standby"):
		_, err = s.Standby(ctx)
	case strings.Contains(job, "at a terminal"):
		signal.Ignore(os.Interrupt) // after the start: only this process
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("up", s.Port())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println("ping", s.ping(ctx))
	}
	<-ctx.Done()
	return 1
}

// owner is a running child.
type owner struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Scanner
}

// launch runs the child in a process group of its own with temp as TMPDIR.
func launch(t *testing.T, job, temp, dataDir string) *owner {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "ROUSE_TEST_PGSERVER_CHILD="+job, "ROUSE_TEST_PGSERVER_DATA="+dataDir, "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	o := &owner{cmd, in, bufio.NewScanner(out)}
	require.Equal(t, "starting", o.line(t))
	return o
}

func (o *owner) line(t *testing.T) string {
	t.Helper()
	require.True(t, o.lines.Scan(), "the child ended")
	return o.lines.Text()
}

// isUp waits until the server of the child runs, and returns its port.
func (o *owner) isUp(t *testing.T) int {
	t.Helper()
	line := o.line(t)
	port, err := strconv.Atoi(strings.TrimPrefix(line, "up "))
	require.NoError(t, err, line)
	return port
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, o.cmd.Process.Kill())
	require.Error(t, o.cmd.Wait())
}

func TestServerDiesWithItsOwner(t *testing.T) {
	for _, job := range []string{"running", "paused", "halted", "with a standby", "deaf to SIGINT"} {
		t.Run(job, func(t *testing.T) {
			t.Parallel()
			temp := sharedTemp(t)
			o := launch(t, job, temp, "")
			port := o.isUp(t)
			require.NotEmpty(t, processesMentioning(t, temp), "there is a keeper at least")
			o.kill(t)
			gone(t, temp)
			require.True(t, portIsFree(port))
		})
	}
}

func TestDataDirOutlivesItsOwner(t *testing.T) {
	for _, job := range []string{"running", "paused and deaf to SIGINT"} {
		t.Run(job, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(sharedTemp(t), "data")
			o := launch(t, job, sharedTemp(t), data)
			port := o.isUp(t)
			o.kill(t)
			eventually(t, "the server to go", func() bool { return len(processesMentioning(t, data)) == 0 && portIsFree(port) })
			require.NoFileExists(t, filepath.Join(data, "postmaster.pid"), "it stopped in order")
			start(t, Config{DataDir: data, Settings: unsynced()})
		})
	}
}

func TestServerDiesWithItsOwnerAtAnyPointOfTheStart(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 1500*time.Millisecond; after = 2*after + 20*time.Millisecond {
		temp := sharedTemp(t)
		o := launch(t, "starting", temp, "")
		<-time.After(after)
		o.kill(t)
		gone(t, temp)
	}
}

// The owner dies before the keeper has told it that the folder is there: nobody reads that any more.
func TestKeeperCleansUpAfterAnOwnerThatDiedWhileItBegan(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	references, gone, err := os.Pipe()
	require.NoError(t, err)
	defer references.Close()
	require.NoError(t, gone.Close())
	unheard, out, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, unheard.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", keeperScript, "rouse-postgres-keeper", folder, "QUIT")
	cmd.Stdout, cmd.ExtraFiles = out, []*os.File{references} // its standard input is at its end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Run())
	require.NoDirExists(t, folder)
}

func TestInterruptAtTheTerminalReachesOnlyTheOwner(t *testing.T) {
	t.Parallel()
	temp := sharedTemp(t)
	o := launch(t, "at a terminal", temp, "")
	o.isUp(t)
	// Ctrl+C sends the signal to the whole process group in the foreground.
	require.NoError(t, syscall.Kill(-o.cmd.Process.Pid, syscall.SIGINT))
	for range 3 {
		_, err := io.WriteString(o.in, "ping\n")
		require.NoError(t, err)
		require.Equal(t, "ping <nil>", o.line(t))
	}
	o.kill(t)
	gone(t, temp)
}

// gone waits until nothing is left in the folder and no process is about it.
func gone(t *testing.T, temp string) {
	t.Helper()
	eventually(t, "all processes and folders to go", func() bool {
		entries, err := os.ReadDir(temp)
		require.NoError(t, err)
		return len(entries) == 0 && len(processesMentioning(t, temp)) == 0
	})
}

// processesMentioning lists the processes with a text in their command line: a
// server and its keeper have their folder there.
func processesMentioning(t *testing.T, text string) (found []string) {
	t.Helper()
	if entries, err := filepath.Glob("/proc/[0-9]*/cmdline"); err == nil && len(entries) > 0 {
		for _, path := range entries {
			line, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(line), text) {
				found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
		return found
	}
	out, err := exec.Command("ps", "-A", "-o", "args=").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func TestChildrenAreFound(t *testing.T) {
	t.Parallel()
	// Two shells with a bracket in their names, which would confuse a naive
	// reader of /proc.
	odd := filepath.Join(t.TempDir(), "a) S 1 (b")
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(sh, odd))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var want []int
	for range 2 {
		cmd := exec.CommandContext(ctx, odd, "-c", "read line")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		want = append(want, cmd.Process.Pid)
		defer func() {
			require.NoError(t, in.Close())
			err := cmd.Wait()
			var exit *exec.ExitError
			require.True(t, err == nil || errors.As(err, &exit), err)
		}()
	}
	got, err := children(os.Getpid())
	require.NoError(t, err)
	require.Subset(t, got, want)
	require.NotContains(t, got, os.Getpid())
}

func TestFreePortIsFree(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	taken := l.Addr().(*net.TCPAddr).Port
	require.False(t, portIsFree(taken))
	require.NoError(t, l.Close())
	port, err := FreePort()
	require.NoError(t, err)
	require.True(t, portIsFree(port))
	require.Less(t, port, 32768, "outgoing connections could sit on it")
}
