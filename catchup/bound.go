package catchup

import (
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

// Limit returns how many rows to ask for, where the caller wants limit at most.
func (b *Bound) Limit(limit int) int {
	if b.rows == 0 || b.rows > limit {
		return limit
	}
	return b.rows
}

// Collect returns the events of rows, which are asked in number, as far as the bound reaches: at least one. It closes
// rows unless the result is Cut.
func (b *Bound) Collect(rows pgx.Rows, asked int) (c Collected, err error) {
	most := b.Bytes
	if most == 0 {
		most = DefaultBytes
	}
	began, bytes, looked, slow := time.Now(), 0, 0, false
	c.Events, c.Whole, err = b.scanner.CollectWhile(rows, b.expected, func(size int) bool {
		if bytes > 0 && bytes+size > most {
			return false
		}
		if bytes >= looked+lookEvery {
			if looked, slow = bytes, time.Since(began) > restTime; slow {
				return false
			}
		}
		bytes += size
		return true
	})
	if err != nil {
		return Collected{}, err
	}
	n := len(c.Events)
	b.expected = min(n+1, maxExpected)
	if c.Whole {
		if n > 0 && b.rows == asked {
			b.grow(float64(bytes)/float64(most), float64(time.Since(began))/float64(restTime), float64(asked)/float64(n))
		}
		return c, nil
	}
	b.rows = n
	c.Cut = slow || bytes/n*(asked-n) > most/4 || !drain(rows, most/2)
	return c, nil
}

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
