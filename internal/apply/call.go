package apply

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// hungAfter is how long a handler may take to return once its context has ended. A stop waits one second only, so it
// gives up on the handler earlier (rouse.ErrStopTimeout).
const hungAfter = 2 * time.Second

// HungError is the error of a call of a handler that has not returned. Nothing can stop a goroutine; its connection can
// be cut, and its partitions be given to other workers.
type HungError struct {
	Events []eventstore.Event // the events of the call
	Back   <-chan struct{}    // closed by the handler's goroutine when it returns after all; projector.avoids waits for it
}

// Error returns a constant text; Events and Back have the details.
func (*HungError) Error() string { return "the handler has not come back" }

// Hung returns the HungError that err wraps, nil if there is none.
func Hung(err error) *HungError {
	if err == nil { // as it mostly is; As would have what it looks for made on the heap
		return nil
	}
	var hung *HungError
	if errors.As(err, &hung) {
		return hung
	}
	return nil
}

// limited returns ctx with the time limit of one call of the handler, whose cause is errTimeout. limit 0: none.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, errTimeout)
}

// callEach calls f, an effect, with the event ev, under the time limit, and turns a panic into an error.
// Meanwhile it does what is due.
func callEach(ctx context.Context, limit time.Duration, ev eventstore.Event, m meanwhile, f func(ctx context.Context) error) error {
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	err := guardedWhile(ctx, m, func() error { return f(ctx) })
	if hung := Hung(err); hung != nil {
		hung.Events = []eventstore.Event{ev}
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}

// guarded calls f, which may be a handler, and returns a HungError if f has not returned hungAfter after the end of
// ctx, and errExited if f has ended its goroutine.
func guarded(ctx context.Context, f func() error) error { return guardedWhile(ctx, meanwhile{}, f) }

// meanwhile is what guarded does on the caller's goroutine while a handler runs, if it has not returned when due sends. The zero value
// is nothing.
type meanwhile struct {
	due <-chan time.Time
	do  func()
}

// guardedWhile is guarded with something to do meanwhile.
func guardedWhile(ctx context.Context, m meanwhile, f func() error) error {
	err := errExited // unless f returns or panics; read once back is closed
	back := make(chan struct{})
	// Owned by guarded, which waits for it unless f hangs. Then the goroutine is abandoned, and back reports its end to HungError.Back.
	go func() {
		defer close(back)
		err = safely(f)
	}()
	for waiting := true; waiting; {
		select {
		case <-back:
			return err
		case <-m.due:
			m.due = nil
			m.do()
		case <-ctx.Done():
			waiting = false
		}
	}
	timer := time.NewTimer(hungAfter)
	defer timer.Stop()
	select {
	case <-back:
		return err
	case <-timer.C:
		return &HungError{Back: back}
	}
}

// Apart calls f, which may be a handler, on a goroutine of its own, waits for it, and returns its error: errExited if f has ended
// its goroutine, which would otherwise have been the caller's.
func Apart(f func() error) error {
	result := make(chan error, 1)
	go func() { // owned by Apart, which waits for the result
		err := errExited // unless f returns or panics
		defer func() { result <- err }()
		err = safely(f)
	}()
	return <-result
}

// safely calls f and turns a panic into an error, so that one event cannot end the process with all its projections.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w at %s: %v", errPanic, panicSite(), p)
		}
	}()
	return f()
}

// panicSite returns the file and line that panicked, for an error of one line. The deferred function that recovers must
// call it directly.
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
