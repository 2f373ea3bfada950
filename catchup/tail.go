package catchup

import (
	"errors"
	"sort"
	"sync"

	"github.com/rouse-es/rouse/eventstore"
)

// ErrBehind means that a member needs events that the tail no longer holds, or never held: it has to read them by itself.
var ErrBehind = errors.New("catchup: the tail does not hold what comes next")

const (
	// tailBatches is how many batches beyond its fastest member the tail is read, at most. Slower ones that are further
	// behind than twice that fall off.
	tailBatches = 4

	// tailBytes bounds the payloads that are held beyond the fastest member, but for the last batch.
	tailBytes = 16 << 20
)

// Tail holds the end of the log, which one reader reads for all members of a process. It does not read by itself: its reader
// asks Want, reads, and tells Add. Its methods, and those of its members, may be used by many goroutines.
//
// A member's place is a position, and all that it gets follows from that: the events of its slots beyond its place, up to the
// place where the tail ends, which becomes its place. So it does not matter when it joins, or whether it had read further than
// the tail before it did. The fastest member sets the pace: the tail is read on only while that one keeps up. Slower ones
// never hold it back, and fall off where it has let go of what they need.
type Tail struct {
	batch int           // events that one read brings, at most
	moved chan struct{} // buffered to 1, so that members who move on or join never wait

	mu      sync.Mutex // protects the fields below
	begun   bool
	events  []eventstore.Event // of slots, in (first, end]
	bytes   int                // of their payloads
	first   int64
	end     int64
	slots   SlotSet
	head    int64
	more    bool // the last read has left something
	err     error
	members map[*Member]struct{}
}

// NewTail makes a tail that is read in batches of up to so many events.
func NewTail(batch int) *Tail {
	return &Tail{batch: batch, moved: make(chan struct{}, 1), members: map[*Member]struct{}{}}
}

// Member is one reader's place in a tail. It is for one goroutine.
type Member struct {
	C <-chan struct{} // signals that Next may have something

	tail  *Tail
	slots SlotSet
	c     chan struct{}

	// Protected by tail.mu.
	joined bool
	at     int64
	more   bool // it was told that there is more
}

// Enter makes a member for some slots. It gets nothing before it has joined, but from now on the tail is read for its slots.
func (t *Tail) Enter(slots SlotSet) *Member {
	c := make(chan struct{}, 1) // buffered to 1 so that signals coalesce and the reader never waits
	m := &Member{C: c, c: c, tail: t, slots: slots}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.members[m] = struct{}{}
	return m
}

// Leave ends the membership.
func (m *Member) Leave() {
	m.tail.mu.Lock()
	defer m.tail.mu.Unlock()
	delete(m.tail.members, m)
	m.tail.signal()
}

// Join tries to go on from a position with the tail, after a read that ended there; more tells whether that read has left
// something to read at once. If it returns false the member has to read on by itself. It fails with the error of a tail that
// has failed.
func (m *Member) Join(at int64, more bool) (bool, error) {
	t := m.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return false, t.err
	}
	switch {
	case t.begun && at < t.end:
		m.joined = t.holds(m.slots, at)
	default:
		m.joined = !more // who has not read everything would drag the tail back to where he is
	}
	m.at, m.more = at, more
	if m.joined {
		t.signal()
	}
	return m.joined, nil
}

// holds tells whether everything of some slots from a position to the end is there.
func (t *Tail) holds(slots SlotSet, at int64) bool { return at >= t.first && slots.within(&t.slots) }

// Next returns what follows the member's place, up to limit events, and moves it on. ok is false if there is nothing for now: C
// tells when to ask again. It returns ErrBehind if the member has fallen off, and the error of a tail that has failed.
func (m *Member) Next(limit int) (b Batch, ok bool, err error) {
	t := m.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return Batch{}, false, t.err
	case !t.begun || m.at > t.end, m.at == t.end && (t.more || !m.more):
		return Batch{}, false, nil
	case m.at < t.end && !t.holds(m.slots, m.at):
		m.joined = false
		t.signal()
		return Batch{}, false, ErrBehind
	}
	b = Batch{From: m.at, To: t.end, Head: t.head, More: t.more}
	rest := t.events[t.index(m.at):]
	n := m.count(rest, limit)
	if n > 0 {
		b.Events = make([]eventstore.Event, 0, n)
	}
	for i := range rest { // by index: an event is large to copy
		if len(b.Events) == n {
			break
		}
		if ev := &rest[i]; m.slots.Has(ev.Slot) {
			b.Events = append(b.Events, *ev)
		}
	}
	if n == limit && n > 0 && b.Events[n-1].GlobalPosition < t.end {
		b.To, b.More = b.Events[n-1].GlobalPosition, true
	}
	m.at, m.more = b.To, b.More
	t.signal()
	return b, true, nil
}

// count is how many of some events are of the member's slots, or limit if they are more.
func (m *Member) count(events []eventstore.Event, limit int) (n int) {
	for i := range events {
		if n == limit {
			break
		}
		if m.slots.Has(events[i].Slot) {
			n++
		}
	}
	return n
}

// index is where in events those beyond a position begin.
func (t *Tail) index(after int64) int {
	return sort.Search(len(t.events), func(i int) bool { return t.events[i].GlobalPosition > after })
}

func (t *Tail) signal() {
	select {
	case t.moved <- struct{}{}:
	default:
	}
}

// Moved signals that Want may have another answer.
func (t *Tail) Moved() <-chan struct{} { return t.moved }

// Want tells from where on, and for which slots, the tail is to be read next. ok is false while nobody needs more than is
// there: Moved tells when to ask again. It is for the reader of the tail alone, as Add and Fail are.
func (t *Tail) Want() (after int64, slots SlotSet, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slowest, fastest, joined := t.joined()
	if !joined {
		return 0, slots, false
	}
	if !t.begun || slowest > t.end { // nobody needs what lies between
		t.begun, t.end = true, slowest
		t.empty()
	}
	if t.held(fastest) {
		return 0, slots, false
	}
	for m := range t.members {
		slots.join(&m.slots)
	}
	return t.end, slots, true
}

// joined returns the places of the slowest and of the fastest member that reads the tail.
func (t *Tail) joined() (slowest, fastest int64, any bool) {
	for m := range t.members {
		if !m.joined {
			continue
		}
		if !any {
			slowest, fastest, any = m.at, m.at, true
		}
		slowest, fastest = min(slowest, m.at), max(fastest, m.at)
	}
	return slowest, fastest, any
}

// held tells whether even the fastest member does not keep up.
func (t *Tail) held(fastest int64) bool {
	rest := t.events[t.index(fastest):]
	if len(rest) >= tailBatches*t.batch {
		return true
	}
	if t.bytes < tailBytes {
		return false
	}
	bytes := 0
	for i := range rest {
		bytes += size(&rest[i])
	}
	return bytes >= tailBytes
}

func size(ev *eventstore.Event) int { return len(ev.Payload) + len(ev.Metadata) }

// empty lets go of all events.
func (t *Tail) empty() { t.drop(len(t.events), t.end) }

// drop lets go of the first n events, so that the tail holds everything beyond first.
func (t *Tail) drop(n int, first int64) {
	for i := range t.events[:n] {
		t.bytes -= size(&t.events[i])
	}
	clear(t.events[:n]) // they may be large, and the array lives on
	if t.events = t.events[n:]; len(t.events) == 0 {
		t.events = nil
	}
	t.first = first
}

// Add takes in what a read for what Want said has found, and wakes the members.
func (t *Tail) Add(b Batch, slots SlotSet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slots.within(&t.slots) {
		t.empty() // what was there lacks some slots
	}
	t.slots = slots
	t.events = append(t.events, b.Events...)
	for i := range b.Events {
		t.bytes += size(&b.Events[i])
	}
	t.end, t.head, t.more = b.To, b.Head, b.More
	t.trim(len(b.Events) == 0)
	for m := range t.members {
		m.signal()
	}
}

// trim lets go of what nobody needs, if nothing is going on, and otherwise of the oldest events that are too many, but of none
// that the fastest member has not had yet.
func (t *Tail) trim(calm bool) {
	slowest, fastest, _ := t.joined()
	if calm {
		if slowest > t.first {
			t.drop(t.index(slowest), min(slowest, t.end))
		}
		return
	}
	n, bytes := 0, t.bytes
	for n < len(t.events) && t.events[n].GlobalPosition <= fastest && (len(t.events)-n > 2*tailBatches*t.batch || bytes > 2*tailBytes) {
		bytes -= size(&t.events[n])
		n++
	}
	if n > 0 {
		t.drop(n, t.events[n-1].GlobalPosition)
	}
}

func (m *Member) signal() {
	select {
	case m.c <- struct{}{}:
	default:
	}
}

// Fail ends the tail: all members get err.
func (t *Tail) Fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	for m := range t.members {
		m.signal()
	}
}

// End is how far the tail has been read, 0 before that.
func (t *Tail) End() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end
}

// Failed tells whether the tail has failed.
func (t *Tail) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}
