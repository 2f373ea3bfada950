package eventstore

import (
	"database/sql/driver"
	"encoding/hex"
	"fmt"

	"github.com/rouse-es/rouse/internal/randid"
)

// ID is the identity of an event, a UUID. The zero ID is no identity. IDs can be compared with ==, used as map keys,
// passed to and scanned from pgx and database/sql, and encoded as text.
type ID [16]byte

// NewID returns a new ID. It is a UUID of version 7: time first, to a quarter of a microsecond, so that the index over
// ids grows at its end, then 62 random bits. Safe for concurrent use.
func NewID() ID { return randid.UUID() }

// ParseID returns the ID with the usual text form s: 36 characters with four hyphens, in either case.
func ParseID(s string) (ID, error) {
	var id ID
	if err := id.parse(s); err != nil {
		return ID{}, err
	}
	return id, nil
}

// parse sets id to the ID with text form s, and leaves it alone on an error.
func (id *ID) parse(s string) error {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return errParseID
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	n += copy(digits[n:], s[9:13])
	n += copy(digits[n:], s[14:18])
	n += copy(digits[n:], s[19:23])
	copy(digits[n:], s[24:])
	var parsed ID
	if _, err := hex.Decode(parsed[:], digits[:]); err != nil {
		return errParseID
	}
	*id = parsed
	return nil
}

// IsZero reports whether the ID is the zero ID, which identifies nothing.
func (id ID) IsZero() bool {
	return id == ID{}
}

// String returns the usual form of a UUID, 36 lower-case characters.
func (id ID) String() string {
	var b [36]byte
	id.encode(&b)
	return string(b[:])
}

// encode writes the text form of id to b.
func (id ID) encode(b *[36]byte) {
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
}

// MarshalText returns the bytes of String. It never fails.
func (id ID) MarshalText() ([]byte, error) {
	var b [36]byte
	id.encode(&b)
	return b[:], nil
}

// UnmarshalText sets id to the ID with the given text form.
func (id *ID) UnmarshalText(text []byte) error {
	return id.parse(string(text))
}

// Value returns the text form of id, nil for the zero ID. It implements driver.Valuer, so an ID can be an argument of a
// query.
func (id ID) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.String(), nil
}

// Scan sets id from the text of a UUID or its 16 bytes; NULL is the zero ID. It implements sql.Scanner.
func (id *ID) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*id = ID{}
		return nil
	case string:
		return id.parse(src)
	case []byte:
		if len(src) == len(id) {
			copy(id[:], src)
			return nil
		}
		return id.parse(string(src))
	case [16]byte:
		*id = src
		return nil
	default:
		return fmt.Errorf("eventstore: cannot read an event id from %T: select the uuid column itself", src)
	}
}
