// Package signal turns the signals that ask a program to stop into the end of a
// context.
package signal

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// ExitCode is the status of a program that a second signal ended: 128 + SIGINT,
// as shells have it.
const ExitCode = 130

// echo is how long after the first signal another one still belongs to it:
// timeout(1) signals its child and then the child's whole group, and so do
// terminals and supervisors. A person is slower.
const echo = 200 * time.Millisecond

// Error is the cause of a context that a signal ended; see context.Cause.
type Error struct {
	// Signal is the signal that arrived.
	Signal os.Signal
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("signal: stopped by %v", e.Signal) }

// Context returns a context that the first SIGINT or SIGTERM ends, or
// SIGHUP, which a closed terminal sends, with an *Error as its cause, so that the
// program can stop in order. A program that nohup started does not mind SIGHUP. A second one,
// unless it comes within a fifth of a second, ends the program at once with
// status 130.
//
// stop gives the signals their former effect back, ends the context, and waits
// for the goroutine behind it. It may be called more than once, and must be
// called when the context is no longer needed.
func Context(parent context.Context) (ctx context.Context, stop func()) {
	return watch(parent, os.Exit)
}

// watch is Context with the way out as a parameter.
func watch(parent context.Context, exit func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	// Buffered to 2, because the second signal may come while the first is
	// being handled, and the runtime drops what does not fit.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var first time.Time
		for {
			select {
			case <-quit:
				return
			case received := <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(&Error{Signal: received})
				case time.Since(first) > echo:
					exit(ExitCode)
					return
				}
			}
		}
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(signals)
			close(quit)
		})
		<-done
		cancel(context.Canceled)
	}
}
