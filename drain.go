package rouse

import (
	"context"
	"fmt"
	"math"

	"github.com/rouse-es/rouse/catchup"
)

// Drain handles everything that was committed before the call, in the partitions that this worker owns, and returns. An event that
// fails, or that its handler wants later (NotBefore), is set aside, and not waited for. A reset that an operator has asked for is waited for; what is built or kept beside a projection is not,
// so where another version is live there is nothing to wait for. A worker that does not run yet is run for the duration of the call, with the errors of Run. On a worker that runs,
// Drain waits until it has come that far, and returns ErrEnded if Run returns first or has returned.
func (w *Worker) Drain(ctx context.Context) error {
	if w.running.Load() {
		return w.reach(ctx)
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	// Drain waits for both goroutines before it returns.
	go func() { ran <- w.Run(runCtx) }()
	reached := make(chan error, 1)
	go func() { reached <- w.reach(runCtx) }()
	select {
	case err := <-ran: // it could not start, or was stopped
		cancel()
		<-reached
		if err == nil {
			err = ctx.Err()
		}
		return err
	case err := <-reached:
		cancel()
		if ranErr := <-ran; ranErr != nil {
			return ranErr // a projection that was stopped is in both
		}
		return err
	}
}

// reach waits until all projectors have handled the last event that was visible at the time of the call.
func (w *Worker) reach(ctx context.Context) error {
	select {
	case <-w.ended: // which all that follows might be quicker than to notice
		if ctx.Err() != nil { // which may be why it has ended
			return context.Cause(ctx)
		}
		return ErrEnded
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Ends with ctx, which the deferred cancel cancels; reach need not wait for it.
	go func() {
		select {
		case <-w.ended:
			cancel(ErrEnded)
		case <-ctx.Done():
		}
	}()
	select {
	case <-w.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Not the head: positions above the last event that were rolled back wake no reader, and an open append may stay
	// open.
	last, err := catchup.LastVisible(ctx, w.db, math.MaxInt64)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	for _, p := range w.projectors {
		if err := p.Wait(ctx, last.Position); err != nil {
			return fmt.Errorf("rouse: wait for projection %s: %w", p.Name(), stoppedError(p.Name(), err))
		}
	}
	return nil
}
