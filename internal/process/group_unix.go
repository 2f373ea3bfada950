//go:build unix

package process

import "syscall"

// ownGroup returns what puts a child into a process group of its own.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
