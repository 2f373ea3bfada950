package listener

import (
	"sync"
	"sync/atomic"
)

// The causes of a wake. Of several that coalesce, the greatest counts.
const (
	probe int32 = iota + 1 // the mode has changed, which a probe decides
	push                   // an append has notified
)

// Wake is a signal that there may be events to read. It carries no data, and signals that come before the reader looks
// coalesce.
type Wake struct {
	// C receives the signal; the reader waits for it.
	C <-chan struct{}
	c chan struct{}

	source atomic.Int32 // the greatest cause since the last call of Source
}

// Source returns the cause of the signal that was just received from C: "push", an append; or "probe", a change of the
// mode.
func (w *Wake) Source() string {
	if w.source.Swap(0) == probe {
		return "probe"
	}
	return "push" // also for a signal whose cause an earlier call has taken
}

// newWake returns a Wake without a signal.
func newWake() *Wake {
	c := make(chan struct{}, 1) // buffered to 1 so that wakes coalesce and the sender never waits
	return &Wake{C: c, c: c}
}

// signal raises w with cause source. It never waits.
func (w *Wake) signal(source int32) {
	for now := w.source.Load(); now < source && !w.source.CompareAndSwap(now, source); now = w.source.Load() {
	}
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// hub passes the wakes of one connection to the readers of a process.
type hub struct {
	mu    sync.Mutex // protects wakes
	wakes map[*Wake]struct{}
}

// subscribe returns a Wake that broadcast signals, and the function that ends that.
func (h *hub) subscribe() (*Wake, func()) {
	w := newWake()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wakes == nil {
		h.wakes = map[*Wake]struct{}{}
	}
	h.wakes[w] = struct{}{}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.wakes, w)
	}
}

// broadcast signals every subscribed Wake.
func (h *hub) broadcast(source int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.wakes {
		w.signal(source)
	}
}
