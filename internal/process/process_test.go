package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// roleEnv makes the test binary be a child, and says which.
const roleEnv = "ROUSE_TEST_CHILD"

const patience = time.Minute

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		goleak.VerifyTestMain(m)
		return
	case "echo": // ends with its standard input
		fmt.Println("ready")
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			fmt.Fprintln(os.Stderr, "heard", lines.Text())
			fmt.Println(lines.Text())
		}
	case "deaf": // never ends
		fmt.Println("ready")
		select {}
	case "broken":
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "it is broken")
		os.Exit(3)
	}
}

// start starts a child in a role. What it says is on the channel.
func start(t *testing.T, role string) (*Process, <-chan string) {
	t.Helper()
	said := make(chan string, 10)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stdout = &Lines{Each: func(line string) { said <- line }}
	p, err := Start(cmd, "the child", Options{})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p, said
}

func requireLine(t *testing.T, said <-chan string, want string) {
	t.Helper()
	select {
	case line := <-said:
		require.Equal(t, want, line)
	case <-time.After(patience):
		require.FailNow(t, "nothing was said", want)
	}
}

func TestChildStopsInOrderAtTheEndOfItsInput(t *testing.T) {
	t.Parallel()
	p, said := start(t, "echo")
	requireLine(t, said, "ready")
	p.Say("hello")
	requireLine(t, said, "hello")
	require.False(t, p.Expected())
	require.NoError(t, p.Stop(patience))
	require.True(t, p.Expected())
	require.Zero(t, p.State().ExitCode())
	assert.Equal(t, "heard hello", p.Output.Last())
	require.ErrorIs(t, p.Signal(os.Interrupt), os.ErrProcessDone)
	require.NoError(t, p.Stop(patience), "once more")
}

func TestChildThatEndsBadlySaysSo(t *testing.T) {
	t.Parallel()
	p, _ := start(t, "broken")
	require.ErrorContains(t, p.Stop(patience), "the child ended with exit status 3 when it was told to stop")
	assert.Equal(t, 3, p.State().ExitCode())
	assert.Equal(t, []string{"it is broken"}, p.Output.All())
}

func TestChildThatDoesNotStopIsKilled(t *testing.T) {
	t.Parallel()
	p, said := start(t, "deaf")
	requireLine(t, said, "ready")
	require.ErrorContains(t, p.Stop(10*time.Millisecond), "the child did not stop within 10ms and was killed")
	require.Error(t, p.Wait())
}

func TestFrozenChildGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	if !CanFreeze {
		t.Skip("this system cannot freeze a process")
	}
	p, said := start(t, "echo")
	requireLine(t, said, "ready")
	require.NoError(t, p.Freeze())
	p.Say("meanwhile")
	select {
	case line := <-said:
		require.FailNow(t, "a frozen child said something", line)
	case <-p.Exited:
		require.FailNow(t, "a frozen child ended")
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, p.Thaw())
	requireLine(t, said, "meanwhile")
	require.NoError(t, p.Stop(patience))
}

func TestProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, err := Start(exec.Command(filepath.Join(t.TempDir(), "nothing")), "the child", Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot start the child: ")
}
