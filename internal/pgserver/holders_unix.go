//go:build unix

package pgserver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// holder is a process that has the write end of the reference count, and so belongs to the server.
type holder struct {
	pid   int
	name  string
	ticks uint64 // processor time that it has used
	going bool   // it runs, waits for a disk, or is ending
}

func (h holder) String() string { return fmt.Sprintf("%d (%s)", h.pid, h.name) }

// pipeID returns the number by which /proc names the pipe of f.
func pipeID(f *os.File) (uint64, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, fmt.Errorf("pgserver: looking at the reference count: %w", err)
	}
	return uint64(stat.Ino), nil //nolint:unconvert // it has another type on other systems
}

// holders lists the processes that hold the write end of a pipe, this one not among them. It finds none where the
// system has no /proc.
func holders(pipe uint64) (list []holder) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !writes(pid, pipe) {
			continue
		}
		if h, err := lookAt(pid); err == nil { // else it has ended meanwhile
			list = append(list, h)
		}
	}
	return list
}

// writes reports whether process pid holds the write end of the pipe. The keeper holds the other end.
func writes(pid int, pipe uint64) bool {
	name := fmt.Sprintf("pipe:[%d]", pipe)
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(links, func(link string) bool {
		if target, err := os.Readlink(link); err != nil || target != name {
			return false
		}
		info, err := os.ReadFile(strings.Replace(link, "/fd/", "/fdinfo/", 1))
		if err != nil {
			return false
		}
		_, after, _ := strings.Cut(string(info), "flags:")
		flags, err := strconv.ParseUint(strings.Fields(after + " x")[0], 8, 64)
		return err == nil && flags&syscall.O_ACCMODE == syscall.O_WRONLY
	})
}

// lookAt reads what process pid is doing.
func lookAt(pid int) (holder, error) {
	const exiting = 0x4 // PF_EXITING
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return holder{}, err
	}
	// "pid (any name) state ppid ...": state is field 3 of proc(5), flags 9, utime 14 and stime 15.
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 13 {
		return holder{}, fmt.Errorf("pgserver: /proc/%d/stat has %d fields", pid, len(fields))
	}
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	user, _ := strconv.ParseUint(fields[11], 10, 64)
	system, _ := strconv.ParseUint(fields[12], 10, 64)
	return holder{
		pid: pid, name: string(stat[bytes.IndexByte(stat, '(')+1 : end]), ticks: user + system,
		going: strings.ContainsAny(fields[0], "RDZX") || flags&exiting != 0,
	}, nil
}

// stuck reports whether nothing has happened between two lists: the same processes are there, none has used the processor, and
// none is about to do anything.
func stuck(before, now []holder) bool {
	return len(now) > 0 && slices.Equal(before, now) && !slices.ContainsFunc(now, func(h holder) bool { return h.going })
}
