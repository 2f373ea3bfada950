//go:build unix

package bench

import (
	"os/exec"
	"syscall"
)

// apart keeps Ctrl+C at a terminal from reaching a command before this process, which then ends it.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
