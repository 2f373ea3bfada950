//go:build unix

package main

import (
	"os"
	"syscall"
)

// canFreeze tells whether this system can stop a process and let it go on.
const canFreeze = true

// freeze stops a process where it stands, thaw lets it go on. Should this process be gone first, the system ends the frozen
// one, because its process group is orphaned then.
func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func thaw(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
