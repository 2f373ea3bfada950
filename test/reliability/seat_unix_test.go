//go:build unix

package reliability_test

import "syscall"

const sigStop, sigCont = syscall.SIGSTOP, syscall.SIGCONT
