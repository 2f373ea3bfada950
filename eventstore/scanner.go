package eventstore

import "github.com/jackc/pgx/v5"

const (
	// blockSize is the memory that the JSON of small events shares; a caller that keeps one of them keeps up to that
	// much.
	blockSize = 8 << 10

	// blockShare is the size of the largest JSON that is put into a shared block.
	blockShare = blockSize / 8

	// maxNames bounds the number of type names that are remembered. Most logs have few; a log with many must cost no
	// memory.
	maxNames = 1000
)

// Scanner reads rows of [Columns] as [ScanEvent] does, for callers that read many: events share the names of their
// types, and small ones the memory of their JSON, which halves the number of allocations. The events stay valid. The
// zero value is ready; it is for one goroutine at a time.
type Scanner struct {
	names   map[string]string
	block   []byte
	refused pgx.Rows // CollectWhile has ended before their present row
}

// Collect returns the events of all rows, and closes rows. expected is their approximate number, for which it reserves
// memory.
func (s *Scanner) Collect(rows pgx.Rows, expected int) ([]Event, error) {
	events, _, err := s.CollectWhile(rows, expected, func(int) bool { return true })
	return events, err
}

// CollectWhile is Collect for callers that have a bound. It asks take about every event before it copies it, with the
// number of bytes that the row brought, and ends before the first event that take refuses. Then whole is false, and
// rows is left open: call CollectWhile again, which goes on with that event; close it, which reads the rest and throws it
// away; or close its connection, which does not.
func (s *Scanner) CollectWhile(rows pgx.Rows, expected int, take func(bytes int) bool) (events []Event, whole bool, err error) {
	binary, again := false, s.refused == rows
	s.refused = nil
	for again || rows.Next() {
		again = false
		if events == nil {
			if binary, err = isBinary(rows); err != nil {
				rows.Close()
				return nil, false, err
			}
			events = make([]Event, 0, max(expected, 1))
		}
		raw := rows.RawValues()
		if !take(bytesOf(raw)) {
			s.refused = rows
			return events, false, nil
		}
		events = append(events, Event{}) // and filled in its place, because it is large to copy
		if err := s.scan(rows, raw, binary, &events[len(events)-1]); err != nil {
			rows.Close()
			return nil, false, err
		}
	}
	rows.Close()
	return events, true, rows.Err()
}

// fixedBytes is what the columns of fixed length bring.
const fixedBytes = 8 + 16 + 8 + 4 + 2 + 8

// bytesOf returns the number of bytes of a row, which has no null. It is called for every event.
func bytesOf(raw [][]byte) int {
	_ = raw[columnCount-1]
	return fixedBytes + len(raw[colAggregateType]) + len(raw[colAggregateID]) + len(raw[colType]) + len(raw[colPayload]) + len(raw[colMetadata])
}

// scan reads the present row, whose values are raw, into ev.
func (s *Scanner) scan(rows pgx.Rows, raw [][]byte, binary bool, ev *Event) (err error) {
	if err := checkNulls(rows, raw); err != nil {
		return err
	}
	if !binary {
		*ev, err = scanText(rows)
		return err
	}
	return s.decode(raw, ev)
}

// decode reads the binary form of the columns, which belongs to the connection, into ev: everything is copied.
func (s *Scanner) decode(raw [][]byte, ev *Event) error {
	if err := checkLengths(raw); err != nil {
		return err
	}
	numbers(raw, ev)
	ev.AggregateType, ev.Type = s.name(raw[colAggregateType]), s.name(raw[colType])
	ev.AggregateID = string(raw[colAggregateID]) // by itself, because callers remember it for long
	ev.Payload, ev.Metadata = s.copied(raw[colPayload]), s.copied(raw[colMetadata])
	return nil
}

// name returns the one string that all events of a type share.
func (s *Scanner) name(raw []byte) string {
	if name, known := s.names[string(raw)]; known { // this lookup does not allocate
		return name
	}
	if s.names == nil || len(s.names) >= maxNames {
		s.names = map[string]string{}
	}
	name := string(raw)
	s.names[name] = name
	return name
}

// copied returns a copy of raw whose capacity ends with it, so that appending to it does not reach into the next one.
func (s *Scanner) copied(raw []byte) []byte {
	n := len(raw)
	if n > blockShare {
		large := make([]byte, n) // which the compiler does not clear first, because all of it is copied over
		copy(large, raw)
		return large
	}
	if n > cap(s.block)-len(s.block) {
		s.block = make([]byte, 0, blockSize)
	}
	from := len(s.block)
	s.block = append(s.block, raw...)
	return s.block[from : from+n : from+n]
}
