package catchup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

const testBatch = 4

// testLog is a log in memory, with holes, and the reader of a buffer over it.
type testLog struct {
	buffer *buffer
	events []eventstore.Event
	head   int64
	reads  int
}

func newTestLog() *testLog { return &testLog{buffer: newBuffer(testBatch, DefaultBytes)} }

// append appends n events, and now and then a hole.
func (l *testLog) append(n int) {
	for range n {
		l.head += 1 + max(0, rand.Int64N(6)-4)
		l.events = append(l.events, eventstore.Event{GlobalPosition: l.head, Slot: int16(rand.IntN(Slots))})
	}
}

// read is what a Reader does.
func (l *testLog) read(after int64, slots SlotSet) Batch {
	b := Batch{From: after, To: max(l.head, after), Head: l.head}
	for _, ev := range l.events {
		if ev.GlobalPosition <= after || !slots.Has(ev.Slot) {
			continue
		}
		if b.Events = append(b.Events, ev); len(b.Events) == testBatch {
			b.To, b.More = ev.GlobalPosition, true
			break
		}
	}
	return b
}

// step reads the buffer on, if a feed wants it, and reports whether it has come any further.
func (l *testLog) step() bool {
	after, slots, ok := l.buffer.want()
	if !ok {
		return false
	}
	l.reads++
	b := l.read(after, slots)
	l.buffer.add(b, slots)
	return b.To > after
}

// testFeed reads like a feed, and checks that nothing is left out or comes twice.
type testFeed struct {
	*place
	t      *testing.T
	log    *testLog
	slots  SlotSet
	at     int64
	seen   int // events of l.events that it has passed
	joined bool
	more   bool
	alone  int // batches read alone
	shared int
}

func (l *testLog) enter(t *testing.T, at int64, slots SlotSet) *testFeed {
	m := &testFeed{place: l.buffer.enter(slots), t: t, log: l, slots: slots, at: at}
	for m.seen < len(l.events) && l.events[m.seen].GlobalPosition <= at {
		m.seen++
	}
	return m
}

// step takes one batch, and reports whether there was one.
func (m *testFeed) step() bool {
	if m.joined {
		b, ok, err := m.next(testBatch, DefaultBytes)
		if !errors.Is(err, errBehind) {
			require.NoError(m.t, err)
			if ok {
				m.shared++
				m.take(b)
			}
			return ok
		}
		m.joined = false
	}
	b := m.log.read(m.at, m.slots)
	m.alone++
	m.take(b)
	var err error
	m.joined, err = m.join(b.To, b.More)
	require.NoError(m.t, err)
	return true
}

func (m *testFeed) take(b Batch) {
	m.t.Helper()
	require.Equal(m.t, m.at, b.From)
	require.GreaterOrEqual(m.t, b.To, b.From)
	require.LessOrEqual(m.t, len(b.Events), testBatch)
	for _, ev := range b.Events {
		for m.log.events[m.seen].GlobalPosition < ev.GlobalPosition {
			require.False(m.t, m.slots.Has(m.log.events[m.seen].Slot), "%d was left out", m.log.events[m.seen].GlobalPosition)
			m.seen++
		}
		require.Equal(m.t, m.log.events[m.seen].GlobalPosition, ev.GlobalPosition, "an event came twice or out of turn")
		require.True(m.t, m.slots.Has(ev.Slot))
		m.seen++
	}
	for m.seen < len(m.log.events) && m.log.events[m.seen].GlobalPosition <= b.To {
		require.False(m.t, m.slots.Has(m.log.events[m.seen].Slot), "%d was left out", m.log.events[m.seen].GlobalPosition)
		m.seen++
	}
	m.at, m.more = b.To, b.More
}

// Feeds of any slots come, read at any speed, and leave, while the log grows: none misses an event or gets one twice, without
// a fence that would hide it.
func TestBuffer_NeitherSkipsNorRepeats(t *testing.T) {
	t.Parallel()
	everything := SlotsOf([]int{0}, 1)
	for round := range 300 {
		l := newTestLog()
		l.append(rand.IntN(50))
		var members []*testFeed
		for range 400 {
			switch n := rand.IntN(20); {
			case n == 0 && len(members) < 5:
				slots := everything
				if rand.IntN(2) == 0 {
					slots = SlotsOf([]int{rand.IntN(4), rand.IntN(4)}, 4)
				}
				members = append(members, l.enter(t, rand.Int64N(l.head+1), slots))
			case n == 1 && len(members) > 0:
				i := rand.IntN(len(members))
				members[i].leave()
				members = append(members[:i], members[i+1:]...)
			case n < 8:
				l.append(rand.IntN(2 * testBatch))
			case n < 13:
				l.step()
			case len(members) > 0:
				members[rand.IntN(1+rand.IntN(len(members)))].step() // the first ones are the fastest
			}
		}
		for moved := true; moved; {
			moved = l.step()
			for _, m := range members {
				for m.step() {
					moved = true
				}
			}
		}
		for i, m := range members {
			require.Equal(t, l.head, m.at, "round %d member %d", round, i)
			require.False(t, m.more)
		}
	}
}

// One that does not move holds nobody back: the others get everything, the buffer stays small, and it reads alone until it is back.
func TestBuffer_WhoDoesNotKeepUpFallsOffAndComesBack(t *testing.T) {
	t.Parallel()
	l := newTestLog()
	everything := SlotsOf([]int{0}, 1)
	slow, fast := l.enter(t, 0, everything), l.enter(t, 0, everything)
	slow.step()
	fast.step()
	require.True(t, slow.joined && fast.joined)
	for range 100 {
		l.append(testBatch)
		for l.step() {
		}
		for fast.step() {
		}
		require.Equal(t, l.head, fast.at)
		require.LessOrEqual(t, len(l.buffer.events), (2*bufferBatches+1)*testBatch)
	}
	require.Equal(t, 1, fast.alone)
	require.EqualValues(t, 0, slow.at)
	for slow.at < l.head {
		slow.step()
	}
	require.True(t, slow.joined)
	require.Greater(t, slow.alone, 50)
	l.append(1)
	l.step()
	alone := slow.alone
	require.True(t, slow.step())
	require.Equal(t, alone, slow.alone, "it reads the buffer again")
}

// The buffer is not read beyond what its fastest member can take, so memory is bounded, and nobody falls off for want of speed alone.
func TestBuffer_WaitsForItsFastestMember(t *testing.T) {
	t.Parallel()
	l := newTestLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	l.append(100 * testBatch)
	for l.step() {
	}
	require.Equal(t, bufferBatches, l.reads)
	for m.at < l.head {
		require.True(t, m.step())
		for l.step() {
		}
	}
	require.Equal(t, 1, m.alone)
}

// A large payload counts as what it is.
func TestBuffer_IsBoundedInBytes(t *testing.T) {
	t.Parallel()
	l := newTestLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	l.append(4 * testBatch)
	for i := range l.events {
		l.events[i].Payload = make([]byte, DefaultBytes/2/testBatch)
	}
	for l.step() {
	}
	require.Equal(t, 1, l.reads)
	for m.step() || l.step() {
	}
	require.Equal(t, l.head, m.at)
	l.step() // nothing new
	require.Empty(t, l.buffer.events, "nothing is held in a log that is calm")
	require.Zero(t, l.buffer.bytes)
}

// Whoever waits for the buffer is told why it ended.
func TestBuffer_FailureReachesEveryMember(t *testing.T) {
	t.Parallel()
	l := newTestLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	gone := fmt.Errorf("gone")
	l.buffer.fail(gone)
	<-m.C
	_, _, err := m.next(1, DefaultBytes)
	require.ErrorIs(t, err, gone)
	_, err = m.join(0, false)
	require.ErrorIs(t, err, gone)
	require.True(t, l.buffer.failed())
}

// BenchmarkBuffer takes a batch of 500 events in and gives it to four feeds, each of a quarter of the slots.
func BenchmarkBuffer(b *testing.B) {
	const size = 500
	buf := newBuffer(size, DefaultBytes)
	var places []*place
	for p := range 4 {
		places = append(places, buf.enter(SlotsOf([]int{p}, 4)))
		_, err := places[p].join(0, false)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	given := 0
	for b.Loop() {
		after, slots, ok := buf.want()
		require.True(b, ok)
		events := make([]eventstore.Event, size)
		for i := range events {
			events[i] = eventstore.Event{GlobalPosition: after + int64(i) + 1, Slot: int16(i)}
		}
		buf.add(Batch{Events: events, From: after, To: after + size, Head: after + size}, slots)
		for _, p := range places {
			batch, ok, err := p.next(size, DefaultBytes)
			require.NoError(b, err)
			require.True(b, ok)
			given += len(batch.Events)
		}
	}
	require.Equal(b, size*b.N, given)
}

// A feed that begins where the buffer is need not read by itself; where the buffer lacks its events, or some of its slots, it does.
func TestBuffer_ServesAFeedThatBeginsWhereItIs(t *testing.T) {
	t.Parallel()
	all := SlotsOf([]int{0}, 1)
	half := SlotsOf([]int{0}, 2)
	l := newTestLog()
	l.append(3)
	early := l.buffer.enter(all)
	require.False(t, early.begin(0), "nothing is read yet")
	early.leave()
	first := l.buffer.enter(half)
	joined, err := first.join(l.head, false)
	require.NoError(t, err)
	require.True(t, joined)
	held := l.head
	for l.step() {
	}
	l.append(2)
	for l.step() {
	}
	second := l.buffer.enter(half)
	require.False(t, second.begin(held-1), "it has dropped what comes next")
	require.False(t, second.begin(l.head+1), "it is not there yet")
	require.True(t, second.begin(held))
	b, ok, err := second.next(testBatch, DefaultBytes)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, l.head, b.To)
	require.False(t, b.More)
	third := l.buffer.enter(half)
	require.True(t, third.begin(l.head))
	b, ok, err = third.next(testBatch, DefaultBytes)
	require.NoError(t, err)
	require.True(t, ok, "it is told that it has come to the end")
	require.Empty(t, b.Events)
	require.Equal(t, []int64{l.head, l.head, l.head}, []int64{b.From, b.To, b.Head})
	require.False(t, b.More)
	require.False(t, l.buffer.enter(all).begin(l.head), "the buffer was read for fewer slots")
	l.buffer.fail(errBehind)
	require.False(t, l.buffer.enter(half).begin(l.head))
}
