package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// errGivenUp is what a call returns on whose end nobody waits any longer.
var errGivenUp = errors.New("rouse: the handler has come back too late")

// never is a time for which nobody waits.
const never = time.Duration(math.MaxInt64)

// guard bounds calls of a handler that one goroutine makes, one after the other, such as those with the events of a batch. The
// goroutine is that of run, whose caller watches it: it ends the context of a call whose time is over, and gives the goroutine up if the
// call has not returned hungAfter later. A call notes its beginning and its end, and the watcher looks when the time of one may be over;
// nothing else is done for each.
type guard struct {
	batch context.Context //nolint:containedctx // of the calls, for the time of run
	limit time.Duration   // of one call; 0: none

	mu      sync.Mutex // protects the fields below, and the giveUp of calls
	current *call      // nil: the goroutine is between two calls
	givenUp bool       // it will not be waited for
}

// call is one call of a handler, with what the handler is given. It is used once: the handler may have kept both.
type call struct {
	context callContext
	tx      HandlerTx
	uses    uses      // of tx
	giveUp  time.Time // when it is given up; zero: its context has not ended
}

// run calls f, which makes the calls, on a goroutine of its own, and returns its error: a HungError, without its events, if a call
// has not returned hungAfter after the end of its context, and errExited if one has ended the goroutine.
func (g *guard) run(f func() error) error {
	err := errExited // unless f returns
	back := make(chan struct{})
	// Owned by run, which waits for it unless a call hangs. Then the goroutine is abandoned: it ends with that call, and back tells
	// HungError.Back.
	go func() {
		defer close(back)
		err = f()
	}()
	timer := time.NewTimer(g.pause())
	defer timer.Stop()
	over := g.batch.Done()
	for {
		select {
		case <-back:
			return err
		case <-over:
			over = nil
		case <-timer.C:
		}
		pause, hung := g.look(time.Now())
		if hung {
			return &HungError{Back: back}
		}
		timer.Reset(pause)
	}
}

// pause returns how long no call that begins from now on can be too long.
func (g *guard) pause() time.Duration {
	switch {
	case g.batch.Err() != nil:
		return hungAfter
	case g.limit > 0:
		return g.limit
	}
	return never
}

// look ends the context of the current call if it is time to, and gives it up if it has not returned hungAfter after that: hung.
// Otherwise it returns when to look again.
func (g *guard) look(now time.Time) (pause time.Duration, hung bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.current
	if c == nil {
		return g.pause(), false
	}
	if c.giveUp.IsZero() {
		left := never
		if g.limit > 0 {
			left = c.context.deadline.Sub(now)
		}
		switch {
		case g.batch.Err() != nil:
			c.context.end(g.batch)
		case left <= 0:
			c.context.end(overtime)
		default:
			return left, false
		}
		c.giveUp = now.Add(hungAfter)
	}
	if left := c.giveUp.Sub(now); left > 0 {
		return left, false
	}
	g.givenUp = true
	c.tx.Return()
	return 0, true
}

// begin makes c the current call.
func (g *guard) begin(c *call) {
	c.context.batch = g.batch
	var now time.Time
	if g.limit > 0 {
		now = time.Now()
		c.context.deadline = now.Add(g.limit)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.batch.Err() != nil {
		c.context.end(g.batch)
		c.giveUp = time.Now().Add(hungAfter)
	}
	g.current = c
}

// finish ends c, with all that the handler was given, and returns errGivenUp if it was given up.
func (g *guard) finish(c *call) error {
	g.mu.Lock()
	givenUp := g.givenUp
	g.current = nil
	g.mu.Unlock()
	c.tx.Return()
	c.context.end(returned)
	if givenUp {
		return errGivenUp
	}
	return nil
}

// do makes the call c of f, on the goroutine of run, and returns f's error, or its panic as one. After errGivenUp the goroutine has to
// end, and to leave everything alone. Nothing is left of c either where f ends the goroutine.
func (g *guard) do(c *call, f func(ctx context.Context) error) (err error) {
	g.begin(c)
	defer func() {
		if givenUp := g.finish(c); givenUp != nil {
			err = givenUp
		}
	}()
	return c.late(safely(func() error { return f(&c.context) }))
}

// late returns err, with which c has ended, as errTimeout if its time was over.
func (c *call) late(err error) error {
	if err != nil && errors.Is(context.Cause(&c.context), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}
