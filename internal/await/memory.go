package await

import "time"

// memory is what a Hub remembers of a projection whose workers reply. With it most waits need no look at all: what is handled already was
// heard, and what is not will be.
type memory struct {
	asked time.Time // when the workers were last asked
	used  time.Time // when a waiter last waited

	total int // partitions; 0: nothing was heard yet
	upto  []int64

	// clean is the position above which nothing can have been set aside, or handled by who did not reply, unheard.
	clean int64
}

// hear takes in a reply.
func (m *memory) hear(r reply) {
	if r.total == 0 {
		return
	}
	if m.total != r.total {
		m.total, m.upto = r.total, make([]int64, r.total)
	}
	if m.clean = max(m.clean, r.since); r.look {
		m.clean = max(m.clean, r.to)
	}
	if r.bare {
		return // an operator may have moved the checkpoints back when it is heard
	}
	for p := range m.upto {
		if r.partitions.has(p) {
			m.upto[p] = max(m.upto[p], r.to)
		}
	}
}

// forget forgets what is handled, because it may not be any more.
func (m *memory) forget() { clear(m.upto) }

// tells reports whether w need not look: the workers reply, and were doing so when its events were appended.
func (m *memory) tells(w *waiter, now time.Time) bool {
	return m.total > 0 && now.Sub(m.asked) < askedFor-askAgain && w.target.Slot >= 0 && w.target.first() > m.clean
}

// prime tells w what is known, in the place of a look, and reports whether it is over.
func (m *memory) prime(w *waiter, now time.Time) (over bool) {
	p := w.target.Slot & (m.total - 1)
	w.looked, w.must, w.hears, w.last, w.total = true, false, true, w.target.Last, m.total
	if m.upto[p] < w.last {
		w.pending.Add(p)
	}
	w.next, w.why = now.Add(primedPause), "the workers have not said yet that it is handled"
	return w.over()
}
