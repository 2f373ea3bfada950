//go:build unix

package pgserver

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
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
	ready, err := k.cmd.StdoutPipe()
	if err == nil {
		err = k.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: starting /bin/sh: %w", err), life.Close(), refs.Close())
	}
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
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

// dismiss lets the keeper clean up and waits for it. Everything of the server
// must have been stopped before. A keeper that is not done when ctx ends is
// killed.
func (k *keeper) dismiss(ctx context.Context) error {
	err := errors.Join(k.tell("orderly"), k.refs.Close(), k.life.Close())
	done := make(chan error, 1) // buffered, so that the waiter below always ends
	go func() { done <- k.cmd.Wait() }()
	select {
	case waitErr := <-done:
		return errors.Join(err, waitErr)
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("pgserver: a process of the server is still there: %w", ctx.Err()), k.cmd.Process.Kill())
		<-done
		return err
	}
}

// interrupt and quit signal one child.
func interrupt(p *os.Process) error { return ignoreDone(p.Signal(syscall.SIGINT)) }
func quit(p *os.Process) error      { return ignoreDone(p.Signal(syscall.SIGQUIT)) }

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
