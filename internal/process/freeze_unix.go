//go:build unix

package process

import (
	"os"
	"syscall"
)

// CanFreeze reports whether this system can stop a process where it stands and let it go on.
const CanFreeze = true

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func thaw(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
