package apply

import (
	"sync"
	"time"
)

const (
	// firstApart and longestApart are the pauses after which a projection whose batch was in the way of others goes with them again.
	firstApart   = time.Second
	longestApart = time.Minute
)

// apart is whether a projection goes by itself for now. Its methods may be called by many goroutines.
type apart struct {
	mu    sync.Mutex // protects the fields below
	until time.Time
	pause time.Duration // the last; 0: there was none since a joint transaction
	slow  bool          // it has not been quick by itself since
}

// is reports whether the projection goes by itself.
func (a *apart) is() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.slow || a.pause > 0 && time.Now().Before(a.until)
}

// stay has it go by itself, for longer each time. quick false: and until it was quick by itself.
func (a *apart) stay(first, longest time.Duration, quick bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pause = min(max(2*a.pause, first), longest)
	a.until, a.slow = time.Now().Add(a.pause), !quick
}

// went notes that it has handled a batch by itself, in how much time.
func (a *apart) went(took time.Duration) {
	if took > jointStatement {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow = false
}

// joined notes that it was in a joint transaction.
func (a *apart) joined() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pause = 0
}
