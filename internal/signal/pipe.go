package signal

import (
	"os"
	"os/signal"
	"syscall"
)

// KeepAfterClosedPipe lets the program live, from now on, after it has written to standard output or standard error whose reader
// is gone: the write fails, where Go would end the program by SIGPIPE without any order. It is for programs that serve, and are
// not there for their log. Programs that they start are not concerned.
func KeepAfterClosedPipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // nobody receives: the runtime drops what does not fit
}
