package rouse

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// hungAfter is how long a handler may take to come back once its context has ended. Run gives up on it a second before.
const hungAfter = 2 * time.Second

// hungError means that a handler has not come back. Nothing can stop a goroutine; what can be done is to cut its connection
// and to give its partitions to others.
type hungError struct {
	events []eventstore.Event // what it was called with
	back   <-chan struct{}    // closed when it comes back after all
}

func (*hungError) Error() string { return "the handler has not come back" }

// guarded calls f, which may be a handler, and leaves it behind if it does not return although ctx has ended.
func guarded(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	back := make(chan struct{})
	go func() {
		defer close(back)
		result <- safely(f)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(hungAfter)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return &hungError{back: back}
	}
}

// safely turns a panic into an error, so that one event cannot take the process down with all its projections.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w at %s: %v", errPanic, panicSite(), p)
		}
	}()
	return f()
}

// panicSite is the file and line that panicked, for an error of one line. Called by the function that recovers.
func panicSite() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
	}
}
