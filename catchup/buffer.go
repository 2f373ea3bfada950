package catchup

import (
	"errors"
	"sort"
	"sync"

	"github.com/rouse-es/rouse/eventstore"
)

// errBehind means that a feed needs events that the buffer has dropped, or never held: it has to read them by itself.
var errBehind = errors.New("catchup: the buffer does not hold what comes next")

// bufferBatches bounds the number of batches that the buffer is ahead of its fastest place. A slower place that is more
// than twice as far behind falls off.
const bufferBatches = 4

// buffer holds the end of the log, which one reader reads for all feeds of a process. It does not read by itself: its
// reader calls want, reads, and calls add. Its methods, and those of its places, may be called by many goroutines.
//
// A place is the position of one feed, and everything that the feed receives follows from that: the events of its slots
// beyond the place, up to the end of the buffer, which becomes its place. So it does not matter when a feed joins, or
// whether it had read further than the buffer before it did. The fastest place sets the pace: the buffer is read on
// only while that place keeps up. A slower place never holds it back, and falls off where the buffer has dropped the
// events that it needs.
type buffer struct {
	batch int           // the maximum number of events of one read
	most  int           // bounds the bytes of events; half of it is for those ahead of the fastest place, without the last read
	moved chan struct{} // sent by places, received by the buffer's reader; buffered to 1, so that a place that moves on or joins never waits

	mu     sync.Mutex         // protects the fields below
	begun  bool               // set by the first want that finds a place
	events []eventstore.Event // of slots, in (first, end]
	bytes  int                // of them
	first  int64              // the buffer holds everything in (first, end]
	end    int64              // how far the log has been read
	slots  SlotSet            // of events
	head   int64              // as the last read saw it
	more   bool               // the last read ended before the end of the log
	err    error              // written by fail; for good
	places map[*place]struct{}
}

// newBuffer returns an empty buffer that is read in batches of up to batch events, and holds up to most bytes of them, if no
// read brings more than half of that.
func newBuffer(batch, most int) *buffer {
	return &buffer{batch: batch, most: most, moved: make(chan struct{}, 1), places: map[*place]struct{}{}}
}

// place is the position of one feed in a buffer. Its methods are for one goroutine.
type place struct {
	C <-chan struct{} // receives a signal when next may have a batch; the feed waits for it

	buffer *buffer
	slots  SlotSet
	c      chan struct{}

	// Protected by buffer.mu.
	joined bool  // it goes on with the buffer
	at     int64 // the position of the feed
	more   bool  // the last batch of the feed said that there is more
}

// enter returns a place for slots. It receives nothing before join, but from now on the buffer is read for its slots.
func (b *buffer) enter(slots SlotSet) *place {
	c := make(chan struct{}, 1) // buffered to 1 so that signals coalesce and the reader never waits
	p := &place{C: c, c: c, buffer: b, slots: slots}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places[p] = struct{}{}
	return p
}

// leave gives the place up.
func (p *place) leave() {
	p.buffer.mu.Lock()
	defer p.buffer.mu.Unlock()
	delete(p.buffer.places, p)
	p.buffer.signal()
}

// join goes on with the buffer from position at, where a read of the feed ended; more reports whether that read left
// events. If join returns false, the feed has to read on by itself. It returns the error of a buffer that has failed.
func (p *place) join(at int64, more bool) (bool, error) {
	b := p.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return false, b.err
	}
	if b.begun && at < b.end {
		p.joined = b.holds(p.slots, at)
	} else {
		p.joined = !more // a feed that has not read everything would drag the buffer back to its position
	}
	p.at, p.more = at, more
	if p.joined {
		b.signal()
	}
	return p.joined, nil
}

// begin goes on with the buffer from position at, if it has everything from there on: the feed need not read by itself.
func (p *place) begin(at int64) bool {
	b := p.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || !b.begun || at > b.end || !b.holds(p.slots, at) {
		return false
	}
	p.joined, p.at, p.more = true, at, true
	b.signal()
	return true
}

// holds reports whether the buffer has every event of slots from position at to its end.
func (b *buffer) holds(slots SlotSet, at int64) bool { return at >= b.first && slots.within(&b.slots) }

// next returns the events behind the place, up to limit and up to most bytes but at least one, and moves the place on. ok is false if there is none for now;
// C signals when to call it again. It returns errBehind if the place has fallen off, and the error of a buffer that has
// failed.
func (p *place) next(limit, most int) (found Batch, ok bool, err error) {
	b := p.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return Batch{}, false, b.err
	case !b.begun || p.at > b.end, p.at == b.end && (b.more || !p.more):
		return Batch{}, false, nil
	case p.at < b.end && !b.holds(p.slots, p.at):
		p.joined = false
		b.signal()
		return Batch{}, false, errBehind
	}
	found = Batch{From: p.at, To: b.end, Head: b.head, More: b.more}
	rest := b.events[b.index(p.at):]
	n, full := p.count(rest, limit, most)
	if n > 0 {
		found.Events = make([]eventstore.Event, 0, n)
	}
	for i := range rest { // by index: an event is large to copy
		if len(found.Events) == n {
			break
		}
		if ev := &rest[i]; p.slots.Has(ev.Slot) {
			found.Events = append(found.Events, *ev)
		}
	}
	if full && found.Events[n-1].GlobalPosition < b.end {
		found.To, found.More = found.Events[n-1].GlobalPosition, true
	}
	p.at, p.more = found.To, found.More
	b.signal()
	return found, true, nil
}

// fits reports whether the event behind the place that next would return first has no more than most bytes, where there is one.
func (p *place) fits(most int) bool {
	b := p.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := b.index(p.at); i < len(b.events); i++ {
		if ev := &b.events[i]; p.slots.Has(ev.Slot) {
			return size(ev) <= most
		}
	}
	return most > 0
}

// count returns the number of events that are in the place's slots, up to limit and most bytes but at least one. full
// means that there may be more.
func (p *place) count(events []eventstore.Event, limit, most int) (n int, full bool) {
	for i := range events {
		if !p.slots.Has(events[i].Slot) {
			continue
		}
		if most -= size(&events[i]); n == limit || n > 0 && most < 0 {
			return n, true
		}
		n++
	}
	return n, false
}

// signal sends to C. It never waits: c is buffered to 1, so signals coalesce.
func (p *place) signal() {
	select {
	case p.c <- struct{}{}:
	default:
	}
}

// index returns the index of the first event beyond position after.
func (b *buffer) index(after int64) int {
	return sort.Search(len(b.events), func(i int) bool { return b.events[i].GlobalPosition > after })
}

// signal sends to moved. It never waits.
func (b *buffer) signal() {
	select {
	case b.moved <- struct{}{}:
	default:
	}
}

// want returns the position behind which the buffer is to be read next, and the slots. ok is false while no feed needs
// more than the buffer has; moved signals when to call it again. It is for the buffer's reader alone, as add and fail
// are.
func (b *buffer) want() (after int64, slots SlotSet, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slowest, fastest, any := b.span()
	if !any {
		return 0, slots, false
	}
	if !b.begun || slowest > b.end { // no feed needs the events in between
		b.begun, b.end = true, slowest
		b.empty()
	}
	if b.aheadEnough(fastest) {
		return 0, slots, false
	}
	for p := range b.places {
		slots.join(&p.slots)
	}
	return b.end, slots, true
}

// span returns the slowest and the fastest of the joined places; any is false if no place has joined. The caller holds
// the mutex.
func (b *buffer) span() (slowest, fastest int64, any bool) {
	for p := range b.places {
		if !p.joined {
			continue
		}
		if !any {
			slowest, fastest, any = p.at, p.at, true
		}
		slowest, fastest = min(slowest, p.at), max(fastest, p.at)
	}
	return slowest, fastest, any
}

// aheadEnough reports whether the buffer is as far ahead of the fastest place as its bounds allow. The caller holds the
// mutex.
func (b *buffer) aheadEnough(fastest int64) bool {
	rest := b.events[b.index(fastest):]
	if len(rest) >= bufferBatches*b.batch {
		return true
	}
	if b.bytes < b.most/2 {
		return false
	}
	bytes := 0
	for i := range rest {
		bytes += size(&rest[i])
	}
	return bytes >= b.most/2
}

// size returns the bytes of ev that count for a bound.
func size(ev *eventstore.Event) int {
	return len(ev.Payload) + len(ev.Metadata) + len(ev.Type) + len(ev.AggregateID)
}

// empty drops all events. The caller holds the mutex.
func (b *buffer) empty() { b.drop(len(b.events), b.end) }

// drop drops the first n events, so that the buffer holds everything beyond first. The caller holds the mutex.
func (b *buffer) drop(n int, first int64) {
	for i := range b.events[:n] {
		b.bytes -= size(&b.events[i])
	}
	clear(b.events[:n]) // they may be large, and the array lives on
	if b.events = b.events[n:]; len(b.events) == 0 {
		b.events = nil
	}
	b.first = first
}

// add adds the events of a read that want asked for, and wakes the feeds.
func (b *buffer) add(found Batch, slots SlotSet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slots.within(&b.slots) {
		b.empty() // the events so far lack some slots
	}
	b.slots = slots
	b.events = append(b.events, found.Events...)
	for i := range found.Events {
		b.bytes += size(&found.Events[i])
	}
	b.end, b.head, b.more = found.To, found.Head, found.More
	b.trim(len(found.Events) == 0)
	for p := range b.places {
		p.signal()
	}
}

// trim drops the events that no feed needs, if calm; otherwise it drops the oldest events beyond the bounds, but none
// that the fastest place has not taken yet. The caller holds the mutex.
func (b *buffer) trim(calm bool) {
	slowest, fastest, _ := b.span()
	if calm {
		if slowest > b.first {
			b.drop(b.index(slowest), min(slowest, b.end))
		}
		return
	}
	n, bytes := 0, b.bytes
	for n < len(b.events) && b.events[n].GlobalPosition <= fastest && (len(b.events)-n > 2*bufferBatches*b.batch || bytes > b.most) {
		bytes -= size(&b.events[n])
		n++
	}
	if n > 0 {
		b.drop(n, b.events[n-1].GlobalPosition)
	}
}

// fail ends the buffer: all places receive err.
func (b *buffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	for p := range b.places {
		p.signal()
	}
}

// readTo returns the position up to which the buffer has been read, 0 before the first read.
func (b *buffer) readTo() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end
}

// failed reports whether the buffer has failed.
func (b *buffer) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}
