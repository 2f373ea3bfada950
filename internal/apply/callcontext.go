package apply

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of one call of a handler. It has the values of the batch's, a deadline of its own, and ends with the call,
// with its time, or with the batch's context, whichever is first; so one that a handler has kept is done. It is what
// context.WithTimeoutCause returns, without a timer, a place among the children of the batch's, and a goroutine that waits: the guard
// of the calls ends it. Contexts that are derived from it use AfterFunc, as package context says.
type callContext struct {
	batch    context.Context //nolint:containedctx // it is a context, and stands on that of the batch
	deadline time.Time       // zero: that of batch, if it has one

	mu    sync.Mutex           // protects the fields below
	over  context.Context      //nolint:containedctx // whose error and cause it has ended with; nil: it goes on
	done  chan struct{}        // nil: nobody has asked for it
	after map[*func()]struct{} // to be called at its end
}

// What the context of a call ends with, if not with that of the batch: it is one that has ended in the same way.
var (
	overtime = ended(context.WithDeadlineCause(context.Background(), time.Now(), errTimeout))
	returned = ended(context.WithCancel(context.Background()))
)

// ended returns ctx after its end.
func ended(ctx context.Context, cancel context.CancelFunc) context.Context {
	cancel()
	return ctx
}

// closed is the channel of contexts that nobody has asked for one before their end.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// end ends c with the error and the cause of over, unless it has ended before.
func (c *callContext) end(over context.Context) {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return
	}
	c.over = over
	if c.done == nil {
		c.done = closed
	} else {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for f := range after {
		go (*f)() // owned by whoever has called AfterFunc, as in package context
	}
}

// ending returns what c has ended with, nil while it goes on.
func (c *callContext) ending() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// Deadline returns the end of the call's time, or that of the batch if that is earlier.
func (c *callContext) Deadline() (deadline time.Time, ok bool) {
	deadline, ok = c.batch.Deadline()
	if !c.deadline.IsZero() && (!ok || c.deadline.Before(deadline)) {
		return c.deadline, true
	}
	return deadline, ok
}

// Done returns a channel that is closed at the end of c.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// Err returns nil before the end of c; then context.DeadlineExceeded if its time was over, context.Canceled if the call has returned,
// and otherwise the error of the batch's context.
func (c *callContext) Err() error {
	if over := c.ending(); over != nil {
		return over.Err()
	}
	return nil
}

// Value returns the batch's value for key. Where c has ended by itself the cause is its own, which context.Cause asks for by a key that
// no other context has.
func (c *callContext) Value(key any) any {
	if over := c.ending(); over != nil {
		if value := over.Value(key); value != nil {
			return value
		}
	}
	return c.batch.Value(key)
}

// AfterFunc calls f in its own goroutine after the end of c, unless stop was called before; stop reports whether it was.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	c.after[&f] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.after[&f]
		delete(c.after, &f)
		return waits
	}
}

// String names c without looking at what changes.
func (c *callContext) String() string { return "a call of a handler" }
