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

// mostCarried is how many payloads are kept for a reader that does not take them, 8 kB each at most. One more has it read.
const mostCarried = 32

// Wake is a signal that there may be events to read. Signals that come before the reader looks coalesce. Some carry events, see
// Carried; a reader that does not ask for them misses nothing.
type Wake struct {
	// C receives the signal; the reader waits for it.
	C <-chan struct{}
	c chan struct{}

	source atomic.Int32 // the greatest cause since the last call of Source

	mu      sync.Mutex // protects the fields below
	carried []string   // what the notifications since the last call of Carried have carried, in their order
	untold  bool       // one of them has carried nothing, or the cause was another
}

// Carried returns the payloads of the notifications since its last call, in the order of the commits, and whether they are all that has
// woken the reader since then. Then whoever has all events in them has missed none. It returns none and true where an earlier call has
// returned what a signal is for. Whoever sent the payloads, and why, is for the caller to find out: anybody may notify.
//
// Call it after the signal was received and before the read that it leads to.
func (w *Wake) Carried() (payloads []string, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	payloads, all = w.carried, !w.untold
	w.carried, w.untold = nil, false
	return payloads, all
}

// take notes what a signal carries; "": nothing.
func (w *Wake) take(payload string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.untold = w.untold || payload == "" || len(w.carried) == mostCarried; w.untold {
		w.carried = nil // the reader has to read
		return
	}
	w.carried = append(w.carried, payload)
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

// signal raises w with cause source and what it carries. It never waits.
func (w *Wake) signal(source int32, payload string) {
	w.take(payload)
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
func (h *hub) broadcast(source int32) { h.send(source, "") }

// send signals every subscribed Wake, with what the signal carries.
func (h *hub) send(source int32, payload string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.wakes {
		w.signal(source, payload)
	}
}
