package listener

import "sync"

// Wake is a signal that there may be something to read. It carries nothing, and any number of signals that come before the
// reader looks are one.
type Wake struct {
	C <-chan struct{}
	c chan struct{}
}

func newWake() *Wake {
	c := make(chan struct{}, 1) // buffered to 1 so that wakes coalesce and the sender never waits
	return &Wake{C: c, c: c}
}

func (w *Wake) signal() {
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

func (h *hub) broadcast() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.wakes {
		w.signal()
	}
}
