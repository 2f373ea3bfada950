package partition

import (
	"context"
	"time"
)

// Trust returns a context under which this process may rely on its leases. It ends with ErrNoTrust when the last
// heartbeat that got through is four fifths as old as it said that it is valid (TTL, or longer at rest), a fifth before other
// members may count the process as dead.
// While there is no trust, Trust waits until there is, or until ctx ends.
func (c *Control) Trust(ctx context.Context) (context.Context, error) {
	for {
		c.mu.Lock()
		trust, changed := c.trust, c.changed
		c.mu.Unlock()
		if trust != nil {
			return trust, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Trusted reports whether there is trust at this moment, and so whether changes of the membership are seen.
func (c *Control) Trusted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trust != nil
}

// shorten lets the trust end as a heartbeat will have it that is about to be sent and will be valid for less long than the last:
// its answer may be lost, and then the others go by it and this process does not know.
func (c *Control) shorten(sent time.Time, validity time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := sent.Add(validity * 4 / 5); c.trust != nil && until.Before(c.until) {
		c.lapse.Stop()
		c.lapseAt(until)
	}
}

// renew extends the trust from sent on, when the heartbeat was sent, which is before the database dated it.
func (c *Control) renew(sent time.Time, validity time.Duration) {
	until := sent.Add(validity * 4 / 5)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = nil
	if time.Until(until) <= 0 {
		return
	}
	if c.trust != nil {
		// A timer that has fired waits for the mutex and will find another one in its place.
		c.lapse.Stop()
	} else {
		c.trust, c.distrust = context.WithCancelCause(context.Background())
		c.broadcast()
	}
	c.lapseAt(until)
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// lapseAt lets the trust end at a time. The caller holds the mutex.
func (c *Control) lapseAt(until time.Time) {
	c.until = until
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(until), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.lapse == timer {
			c.end(ErrNoTrust)
		}
	})
	c.lapse = timer
}

// end ends the trust with cause. The caller holds the mutex.
func (c *Control) end(cause error) {
	if c.trust == nil {
		return
	}
	c.lapse.Stop()
	c.distrust(cause)
	c.trust, c.lapse = nil, nil
}
