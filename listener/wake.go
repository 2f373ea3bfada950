package listener

import (
	"sync"
	"sync/atomic"
)

// What raised a wake. Of several that came as one it is the greatest.
const (
	probe int32 = iota + 1 // the mode has changed, which a probe decides
	push                   // an append has notified
)

// Wake is a signal that there may be something to read. It carries nothing, and any number of signals that come before the
// reader looks are one.
type Wake struct {
	C <-chan struct{}
	c chan struct{}

	source atomic.Int32 // the greatest since it was last asked for
}

// Source says what has raised the signal that was just taken from C: "push", an append; or "probe", a change of the mode.
func (w *Wake) Source() string {
	if w.source.Swap(0) == probe {
		return "probe"
	}
	return "push" // also one that came just after the one before was asked
}

func newWake() *Wake {
	c := make(chan struct{}, 1) // buffered to 1 so that wakes coalesce and the sender never waits
	return &Wake{C: c, c: c}
}

func (w *Wake) signal(source int32) {
	for now := w.source.Load(); now < source && !w.source.CompareAndSwap(now, source); now = w.source.Load() {
	}
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// hub fans one connection's wakes out to the readers of a process.
type hub struct {
	mu    sync.Mutex // protects wakes
	wakes map[*Wake]struct{}
}

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

func (h *hub) broadcast(source int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.wakes {
		w.signal(source)
	}
}
