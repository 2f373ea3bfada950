package eventstore

import "github.com/jackc/pgx/v5"

const (
	// blockSize is how much memory the JSON of small events shares; who keeps one of them keeps up to so much.
	blockSize = 8 << 10

	// blockShare is the largest JSON that is kept in a shared block.
	blockShare = blockSize / 8

	// maxNames bounds the names of types that are remembered. There are few; a log in which there are not must cost no memory.
	maxNames = 1000
)

// Scanner reads rows of [Columns] as [ScanEvent] does, for who reads many: events share the names of their types, and small ones
// the memory of their JSON, which halves what there is to allocate. What it has read stays valid. Its zero value is ready; it is
// for one goroutine at a time.
type Scanner struct {
	names map[string]string
	block []byte
}

// Collect reads all rows, of which there are about so many, and closes them.
func (s *Scanner) Collect(rows pgx.Rows, expected int) ([]Event, error) {
	defer rows.Close()
	var events []Event
	binary := false
	for rows.Next() {
		if events == nil {
			ok, err := isBinary(rows)
			if err != nil {
				return nil, err
			}
			binary = ok
			events = make([]Event, 0, max(expected, 1))
		}
		ev, err := s.scan(rows, binary)
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
	return events, rows.Err()
}

func (s *Scanner) scan(rows pgx.Rows, binary bool) (Event, error) {
	raw := rows.RawValues()
	if err := checkNulls(rows.FieldDescriptions(), raw); err != nil {
		return Event{}, err
	}
	if !binary {
		return scanText(rows)
	}
	return s.decode(raw)
}

// decode reads the binary form of the columns, which belongs to the connection: everything is copied.
func (s *Scanner) decode(raw [][]byte) (Event, error) {
	if err := checkLengths(raw); err != nil {
		return Event{}, err
	}
	ev := numbers(raw)
	ev.AggregateType, ev.Type = s.name(raw[colAggregateType]), s.name(raw[colType])
	ev.AggregateID = string(raw[colAggregateID]) // by itself, because others remember it for long
	ev.Payload, ev.Metadata = s.copied(raw[colPayload]), s.copied(raw[colMetadata])
	return ev, nil
}

// name returns the one string that all events of a type share.
func (s *Scanner) name(raw []byte) string {
	if name, known := s.names[string(raw)]; known { // which does not allocate
		return name
	}
	if s.names == nil || len(s.names) >= maxNames {
		s.names = map[string]string{}
	}
	name := string(raw)
	s.names[name] = name
	return name
}

// copied returns a copy that appending to does not reach into the next one.
func (s *Scanner) copied(raw []byte) []byte {
	n := len(raw)
	if n > blockShare {
		return append(make([]byte, 0, n), raw...)
	}
	if n > cap(s.block)-len(s.block) {
		s.block = make([]byte, 0, blockSize)
	}
	from := len(s.block)
	s.block = append(s.block, raw...)
	return s.block[from : from+n : from+n]
}
