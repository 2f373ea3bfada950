//go:build unix

package pgserver

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

//go:embed keeper.sh
var keeperScript string

// keeper is the child that outlives this process by the time it takes to clean
// up after it. See the package comment. Not safe for concurrent use.
type keeper struct {
	account *account
	cmd     *exec.Cmd
	life    *os.File // write end of the life line; nobody else has it
	refs    *os.File // write end of the reference count; children inherit it

	saying io.Closer     // read end of the keeper's output
	said   *bufio.Reader // its lines: "ready", and "gone" when fd 3 has ended
}

// startKeeper starts the keeper as account. If folder is not empty, the keeper
// makes it, and removes it at the end. signal is what stops the server when this
// process dies.
func startKeeper(acc *account, folder, signal string) (*keeper, error) {
	lifeRead, life, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgserver: opening the life line: %w", err)
	}
	defer lifeRead.Close()
	refsRead, refs, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: opening the reference count: %w", err), life.Close())
	}
	defer refsRead.Close()

	k := &keeper{account: acc, life: life, refs: refs}
	var complaint bytes.Buffer
	k.cmd = exec.Command("/bin/sh", "-c", keeperScript, "rouse-postgres-keeper", folder, signal)
	k.cmd.Dir = "/"
	k.cmd.Env = environment()
	k.cmd.Stdin = lifeRead
	k.cmd.ExtraFiles = []*os.File{refsRead}
	k.cmd.Stderr = &complaint
	k.cmd.SysProcAttr = acc.attributes(0)
	output, err := k.cmd.StdoutPipe()
	if err == nil {
		k.saying, k.said = output, bufio.NewReader(output)
		err = k.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: starting /bin/sh: %w", err), life.Close(), refs.Close())
	}
	if line, err := k.said.ReadString('\n'); err != nil || line != "ready\n" {
		err = errors.Join(life.Close(), refs.Close(), k.cmd.Wait())
		return nil, fmt.Errorf("pgserver: making the folder %s: %s: %w", folder, strings.TrimSpace(complaint.String()), err)
	}
	return k, nil
}

// command prepares a child in the keeper's group that counts as part of the
// server and runs in dir.
func (k *keeper) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.ExtraFiles = []*os.File{k.refs}
	cmd.SysProcAttr = k.account.attributes(k.cmd.Process.Pid)
	cmd.WaitDelay = 5 * time.Second // for the output of a grandchild that hangs on
	return cmd
}

// tell sends one command line to the keeper.
func (k *keeper) tell(line string) error {
	if _, err := k.life.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("pgserver: the keeper process is gone, the server would survive this process: %w", err)
	}
	return nil
}

// dismiss lets the keeper clean up and waits for it. Everything of the server must have been stopped before; what of it needs
// long to end, and the removal of a large folder, are waited for. An error names the processes that stay, see awaitGone; then
// the keeper is killed.
func (k *keeper) dismiss(idle time.Duration) error {
	pipe, err := pipeID(k.refs)
	err = errors.Join(err, k.tell("orderly"), k.refs.Close(), k.life.Close())
	gone := make(chan struct{}) // closed when the keeper says so or has ended
	go func() {
		defer close(gone)
		_, _ = k.said.ReadString('\n')
	}()
	if stays := awaitGone(gone, pipe, idle); stays != nil {
		err = errors.Join(err, stays, k.cmd.Process.Kill(), k.saying.Close())
		_ = k.cmd.Wait() // which was killed
		<-gone
		return err
	}
	return errors.Join(err, k.cmd.Wait())
}

// awaitGone waits until the last process of the server has ended. No time decides that a process is a fault which is on its
// way out, however slow the machine is: an error comes only when all that are left have slept from one look to the next, idle
// later. Where the system does not show processes, or one of them works on and on, it comes after endTimeout.
func awaitGone(gone <-chan struct{}, pipe uint64, idle time.Duration) error {
	deadline := time.Now().Add(endTimeout)
	var before []holder // none at first: most servers are gone before anything is looked at
	for {
		select {
		case <-gone:
			return nil
		case <-time.After(idle):
		}
		now := holders(pipe)
		if stuck(before, now) || time.Now().After(deadline) {
			return fmt.Errorf("%w: %v", errStays, now)
		}
		before = now
	}
}

// ending reports whether a process of the server is seen to be there still.
func (k *keeper) ending() bool {
	pipe, err := pipeID(k.refs)
	if err != nil {
		return false
	}
	return len(holders(pipe)) > 0
}

// errStays means that something of the server would survive it.
var errStays = errors.New("pgserver: a process of the server is still there")

// interrupt and quit signal one child.
func interrupt(p *process.Process) error { return ignoreDone(p.Signal(syscall.SIGINT)) }
func quit(p *process.Process) error      { return ignoreDone(p.Signal(syscall.SIGQUIT)) }

// signalAll signals processes that are known to exist or to be unreaped.
func signalAll(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("pgserver: signalling process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// killAll kills processes in the given order.
func killAll(pids []int) error { return signalAll(pids, syscall.SIGKILL) }
