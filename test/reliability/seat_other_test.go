//go:build !unix

package reliability_test

import "syscall"

// There is no private server on these systems, so that no test comes to use these.
const sigStop, sigCont = syscall.SIGKILL, syscall.SIGKILL
