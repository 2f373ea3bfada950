package catchup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

const tailBatch = 4

// tailLog is a log in memory, with holes, and the reader of a tail over it.
type tailLog struct {
	tail   *Tail
	events []eventstore.Event
	head   int64
	reads  int
}

func newTailLog() *tailLog { return &tailLog{tail: NewTail(tailBatch)} }

// append appends n events, and now and then a hole.
func (l *tailLog) append(n int) {
	for range n {
		l.head += 1 + max(0, rand.Int64N(6)-4)
		l.events = append(l.events, eventstore.Event{GlobalPosition: l.head, Slot: int16(rand.IntN(Slots))})
	}
}

// read is what a Reader does.
func (l *tailLog) read(after int64, slots SlotSet) Batch {
	b := Batch{From: after, To: max(l.head, after), Head: l.head}
	for _, ev := range l.events {
		if ev.GlobalPosition <= after || !slots.Has(ev.Slot) {
			continue
		}
		if b.Events = append(b.Events, ev); len(b.Events) == tailBatch {
			b.To, b.More = ev.GlobalPosition, true
			break
		}
	}
	return b
}

// step reads the tail on, if anybody wants it, and tells whether it has come any further.
func (l *tailLog) step() bool {
	after, slots, ok := l.tail.Want()
	if !ok {
		return false
	}
	l.reads++
	b := l.read(after, slots)
	l.tail.Add(b, slots)
	return b.To > after
}

// tailMember reads like a feed, and checks that nothing is left out or comes twice.
type tailMember struct {
	*Member
	t      *testing.T
	log    *tailLog
	slots  SlotSet
	at     int64
	seen   int // events of l.events that it has passed
	joined bool
	more   bool
	alone  int // batches read alone
	shared int
}

func (l *tailLog) enter(t *testing.T, at int64, slots SlotSet) *tailMember {
	m := &tailMember{Member: l.tail.Enter(slots), t: t, log: l, slots: slots, at: at}
	for m.seen < len(l.events) && l.events[m.seen].GlobalPosition <= at {
		m.seen++
	}
	return m
}

// step takes one batch, and tells whether there was one.
func (m *tailMember) step() bool {
	if m.joined {
		b, ok, err := m.Next(tailBatch)
		if !errors.Is(err, ErrBehind) {
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
	m.joined, err = m.Join(b.To, b.More)
	require.NoError(m.t, err)
	return true
}

func (m *tailMember) take(b Batch) {
	m.t.Helper()
	require.Equal(m.t, m.at, b.From)
	require.GreaterOrEqual(m.t, b.To, b.From)
	require.LessOrEqual(m.t, len(b.Events), tailBatch)
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

// Members of any slots come, read at any speed, and leave, while the log grows: nobody misses anything or gets it twice, without
// a fence that would hide it.
func TestTail_NeitherSkipsNorRepeats(t *testing.T) {
	t.Parallel()
	everything := SlotsOf([]int{0}, 1)
	for round := range 300 {
		l := newTailLog()
		l.append(rand.IntN(50))
		var members []*tailMember
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
				members[i].Leave()
				members = append(members[:i], members[i+1:]...)
			case n < 8:
				l.append(rand.IntN(2 * tailBatch))
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

// One that does not move holds nobody back: the others get everything, the tail stays small, and it reads alone until it is back.
func TestTail_WhoDoesNotKeepUpFallsOffAndComesBack(t *testing.T) {
	t.Parallel()
	l := newTailLog()
	everything := SlotsOf([]int{0}, 1)
	slow, fast := l.enter(t, 0, everything), l.enter(t, 0, everything)
	slow.step()
	fast.step()
	require.True(t, slow.joined && fast.joined)
	for range 100 {
		l.append(tailBatch)
		for l.step() {
		}
		for fast.step() {
		}
		require.Equal(t, l.head, fast.at)
		require.LessOrEqual(t, len(l.tail.events), (2*tailBatches+1)*tailBatch)
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
	require.Equal(t, alone, slow.alone, "it reads the tail again")
}

// The tail is not read beyond what its fastest member can take, so memory is bounded, and nobody falls off for want of speed alone.
func TestTail_WaitsForItsFastestMember(t *testing.T) {
	t.Parallel()
	l := newTailLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	l.append(100 * tailBatch)
	for l.step() {
	}
	require.Equal(t, tailBatches, l.reads)
	for m.at < l.head {
		require.True(t, m.step())
		for l.step() {
		}
	}
	require.Equal(t, 1, m.alone)
}

// A large payload counts as what it is.
func TestTail_IsBoundedInBytes(t *testing.T) {
	t.Parallel()
	l := newTailLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	l.append(4 * tailBatch)
	for i := range l.events {
		l.events[i].Payload = make([]byte, tailBytes/tailBatch)
	}
	for l.step() {
	}
	require.Equal(t, 1, l.reads)
	for m.step() || l.step() {
	}
	require.Equal(t, l.head, m.at)
	l.step() // nothing new
	require.Empty(t, l.tail.events, "nothing is held in a log that is calm")
	require.Zero(t, l.tail.bytes)
}

// Whoever waits for the tail is told why it ended.
func TestTail_FailureReachesEveryMember(t *testing.T) {
	t.Parallel()
	l := newTailLog()
	m := l.enter(t, 0, SlotsOf([]int{0}, 1))
	m.step()
	gone := fmt.Errorf("gone")
	l.tail.Fail(gone)
	<-m.C
	_, _, err := m.Next(1)
	require.ErrorIs(t, err, gone)
	_, err = m.Join(0, false)
	require.ErrorIs(t, err, gone)
	require.True(t, l.tail.Failed())
}
