//go:build unix

package pgserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// freeze stops the process pid and then its children, and returns all of them.
// Once pid is frozen it makes no new child and reaps no old one, so the list is
// complete and its ids cannot be given to other processes until thaw.
func (k *keeper) freeze(pid int) ([]int, error) {
	all := []int{pid}
	if err := k.tell(stoppedLine(all)); err != nil {
		return nil, err
	}
	if err := signalAll(all, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	kids, err := children(pid)
	if err == nil {
		all = append(all, kids...)
		err = k.tell(stoppedLine(all))
	}
	if err == nil {
		err = signalAll(kids, syscall.SIGSTOP)
	}
	if err != nil {
		return nil, errors.Join(err, k.thaw(all))
	}
	return all, nil
}

// thaw continues what freeze stopped, the parent last.
func (k *keeper) thaw(pids []int) error {
	var errs []error
	for i := len(pids) - 1; i >= 0; i-- {
		errs = append(errs, signalAll(pids[i:i+1], syscall.SIGCONT))
	}
	return errors.Join(append(errs, k.tell(stoppedLine(nil)))...)
}

func stoppedLine(pids []int) string {
	words := []string{"stopped"}
	for _, pid := range pids {
		words = append(words, strconv.Itoa(pid))
	}
	return strings.Join(words, " ")
}

// children lists the child processes of parent, from /proc where it has them and
// from ps elsewhere.
func children(parent int) ([]int, error) {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/stat", parent)); err == nil {
		return childrenFromProc(parent)
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("pgserver: listing processes with ps: %w", err)
	}
	var kids []int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil {
			kids = append(kids, pid)
		}
	}
	return kids, nil
}

func childrenFromProc(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("pgserver: listing processes: %w", err)
	}
	var kids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // ended meanwhile, so it is no child of a frozen process
		}
		// "pid (any name) state ppid ..."
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(parent) {
			kids = append(kids, pid)
		}
	}
	return kids, nil
}
