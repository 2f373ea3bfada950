package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// handledWithin is how long one event may take before the benchmark gives up.
const handledWithin = 30 * time.Second

// bell remembers when it was rung last.
type bell struct {
	rung chan struct{} // buffered to 1; the latest ring is enough
	mu   sync.Mutex    // protects when
	when time.Time
}

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

func (b *bell) ring() {
	b.mu.Lock()
	b.when = time.Now()
	b.mu.Unlock()
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

func (b *bell) clear() {
	select {
	case <-b.rung:
	default:
	}
}

// wait waits for a ring, until ctx is cancelled, the ringer has ended, or too long.
func (b *bell) wait(ctx context.Context, ended <-chan struct{}) error {
	limit := time.NewTimer(handledWithin)
	defer limit.Stop()
	select {
	case <-b.rung:
		return nil
	case <-ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return fmt.Errorf("bench: an event was not handled within %s (is the server overloaded?)", handledWithin)
	}
}

// errEnded means that what should have handled an event has ended; its own error says why.
var errEnded = errors.New("bench: the handling has ended")

func (b *bell) at() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.when
}
