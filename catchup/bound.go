package catchup

import (
	"cmp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// DefaultBytes is how much one read brings at most, if nothing else is said: 1000 events of 16 KiB. Events are mostly
// smaller, so that their number ends a read first.
const DefaultBytes = 16 << 20

const (
	// leastBytes is what a read may always bring, however many readers share a bound: 1000 events of 1 KiB.
	leastBytes = 1 << 20

	// restTime is after how long a read hands out what has come, if there is anything. A line that brings a batch in
	// less has no part in this; on a slower one handlers need not wait for the rest.
	restTime = ReadTimeout / 3

	// flowParts is the share of the bytes of a read that it hands out at a time.
	flowParts = 2

	// lookEvery is after how many bytes a read looks at the clock.
	lookEvery = 64 << 10
)

// Bound ends reads of events before they take too much memory or time. The server sends whole rows for as long as there
// are any, so a read that has enough either reads the rest without keeping it, where that is little, or gives the
// connection up. That happens where the sizes of events change, and not at each read, because a Bound remembers how
// many of the last ones it had room for and asks for no more. It is for one goroutine at a time.
type Bound struct {
	// Bytes is how much one read brings at most, beside one event that is larger. 0 means DefaultBytes.
	Bytes int

	rows     int // how many rows the next read asks for at most; 0: as many as its caller wants
	weight   int // the mean bytes of the events of the last read that found some; 0: not known
	scanner  eventstore.Scanner
	expected int // how many events the next read may find: one more than the last found
}

// Collected are the events of one read.
type Collected struct {
	Events []eventstore.Event

	// Whole is false if the result had more rows.
	Whole bool

	// Cut means that the rest of the result is still to come, so that the connection has to be closed.
	Cut bool
}

// Limit returns how many rows to ask for, where the caller wants limit at most: no more than there is room for, as far as can be told.
func (b *Bound) Limit(limit int) int {
	if b.rows > 0 {
		limit = min(limit, b.rows)
	}
	if b.weight > 0 {
		limit = min(limit, max(b.most()/b.weight, 1))
	}
	return limit
}

func (b *Bound) most() int { return cmp.Or(b.Bytes, DefaultBytes) }

// Collect returns the events of rows, which are asked in number, as far as the bound reaches: at least one. It closes
// rows unless the result is Cut.
func (b *Bound) Collect(rows pgx.Rows, asked int) (Collected, error) {
	return b.collect(rows, asked, flow{})
}

// collect is Collect for a read that hands out by f. It returns the events that are left to hand out at its end.
func (b *Bound) collect(rows pgx.Rows, asked int, f flow) (c Collected, err error) {
	m := meter{most: b.most(), began: time.Now(), flow: f}
	for {
		c.Events, c.Whole, err = b.scanner.CollectWhile(rows, min(b.expected, asked-m.events), m.take)
		if err != nil {
			return Collected{}, err
		}
		b.expected = min(len(c.Events)+1, maxExpected)
		if c.Whole || m.over {
			break
		}
		f.hand(c.Events)
		m.next()
	}
	if m.events > 0 {
		b.weight = m.bytes / m.events
	}
	if c.Whole {
		if m.events > 0 && b.rows == asked {
			b.grow(float64(m.bytes)/float64(m.most), float64(time.Since(m.began))/float64(restTime), float64(asked)/float64(m.events))
		}
		return c, nil
	}
	b.rows = m.events
	c.Cut = m.slow || m.bytes/m.events*(asked-m.events) > m.most/4 || !drain(rows, m.most/2)
	return c, nil
}

// meter measures one read.
type meter struct {
	most  int // bytes
	began time.Time
	flow  flow

	events, bytes int // so far
	looked        int // bytes at the last look at the clock
	handed        int // batches
	count, weight int // events and bytes behind them
	over, slow    bool
}

// take reports whether the read goes on with an event of so many bytes. If not, the read is over, or a batch is to be handed
// out.
func (m *meter) take(size int) bool {
	bytes, most := m.bytes, m.most
	if bytes > 0 && bytes+size > most {
		m.over = true
		return false
	}
	if bytes >= m.looked+lookEvery {
		if m.looked, m.slow = bytes, time.Since(m.began) > restTime; m.slow {
			m.over = true
			return false
		}
	}
	if m.isFull(size) {
		return false
	}
	m.events, m.bytes, m.count, m.weight = m.events+1, bytes+size, m.count+1, m.weight+size
	return true
}

// isFull reports whether a batch is to be handed out before an event of so many bytes. The last one may have what is left of the
// bytes, and ends the read where it has as many events as a batch may have.
func (m *meter) isFull(size int) bool {
	last := m.handed+1 >= m.flow.batches
	switch {
	case m.flow.batches == 0 || m.count == 0:
		return false
	case m.count == m.flow.size:
		m.over = last
		return true
	}
	return !last && m.weight+size > m.most/flowParts
}

// next begins the next batch.
func (m *meter) next() { m.handed, m.count, m.weight = m.handed+1, 0, 0 }

// grow asks for more rows where a read that was not cut short left room. bytes and took are the shares of its bounds that
// the read has used, and missing is what it would have used times more if it had found as many rows as it asked for.
func (b *Bound) grow(bytes, took, missing float64) {
	used := max(bytes, took) * missing
	for times := 8; times > 1; times /= 2 { // several steps at once, because most large events are followed by small ones
		if used*float64(times) <= 1 {
			b.rows *= times
			return
		}
	}
}

// drain reads the rest of rows, up to most bytes, and reports whether that was all.
func drain(rows pgx.Rows, most int) bool {
	for ok := true; ok; ok = rows.Next() { // the present row has been read
		for _, v := range rows.RawValues() {
			most -= len(v)
		}
		if most < 0 {
			return false
		}
	}
	rows.Close()
	return true
}
