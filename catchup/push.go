package catchup

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rouse-es/rouse/eventstore"
)

var (
	// errSeal means that a push is not sealed with the key that is known: somebody else has sent it, or there is another key.
	errSeal = errors.New("catchup: the seal of a push is not right")

	// errPush means that a push is of another log or incarnation, or cannot be read.
	errPush = errors.New("catchup: a push of something else")
)

// pushKey is the key of HMAC-SHA256, padded for its two hashes. The zero value opens nothing.
type pushKey struct{ inner, outer []byte }

// pushPlace is which log a push is of, and which incarnation of it.
type pushPlace struct {
	token                      string
	database, events, sequence uint32
}

// sealLength is the length of a seal in hex.
const sealLength = 2 * sha256.Size

// open returns the events of a push, as migrations/0015_carry.sql has it. It returns an error that wraps errSeal or errPush for anything
// else than a push of that place that was sealed with k.
func (k pushKey) open(place pushPlace, payload string) ([]eventstore.Event, error) {
	if len(k.inner) == 0 || len(payload) <= sealLength || payload[sealLength] != ' ' {
		return nil, errSeal
	}
	message := []byte(payload[sealLength+1:])
	if !hmac.Equal([]byte(payload[:sealLength]), k.seal(message)) {
		return nil, errSeal
	}
	head, body, _ := strings.Cut(payload[sealLength+1:], "\n")
	var of pushPlace
	var count int
	if _, err := fmt.Sscanf(head, "%s %d %d %d %d", &of.token, &of.database, &of.events, &of.sequence, &count); err != nil || of != place {
		return nil, errPush
	}
	return readEvents(message[len(message)-len(body):], count)
}

// seal returns the seal of a message, in hex.
func (k pushKey) seal(message []byte) []byte {
	within := sha256.Sum256(append(append(make([]byte, 0, len(k.inner)+len(message)), k.inner...), message...))
	whole := sha256.Sum256(append(append(make([]byte, 0, len(k.outer)+len(within)), k.outer...), within[:]...))
	return hex.AppendEncode(nil, whole[:])
}

// fixedLength is the length of the columns of fixed length of an event and of its five lengths.
const fixedLength = 8 + 16 + 8 + 4 + 2 + 8 + 5*4

// readEvents reads count events out of body, which they fill.
func readEvents(body []byte, count int) (events []eventstore.Event, err error) {
	for range count {
		var row wireRow
		if body, err = row.read(body); err != nil {
			return nil, err
		}
		ev, err := eventstore.ScanEvent(&row)
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
	if len(body) > 0 || len(events) == 0 {
		return nil, errPush
	}
	return events, nil
}

// wireRow is an event as a row in the binary form of the wire, so that it is read as any other is.
type wireRow struct{ raw [11][]byte }

// read takes the first event of body, and returns what is behind it.
func (w *wireRow) read(body []byte) (rest []byte, err error) {
	if len(body) < 2*fixedLength {
		return nil, errPush
	}
	var fixed [fixedLength]byte
	if _, err := hex.Decode(fixed[:], body[:2*fixedLength]); err != nil {
		return nil, errPush
	}
	left, rest := fixed[:], body[2*fixedLength:]
	for _, c := range []struct{ column, length int }{{0, 8}, {1, 16}, {4, 8}, {6, 4}, {9, 2}, {10, 8}} {
		w.raw[c.column], left = left[:c.length], left[c.length:]
	}
	for i, column := range []int{2, 3, 5, 7, 8} { // both types, the id between them, payload and metadata
		n := binary.BigEndian.Uint32(left[4*i:])
		if uint64(n) > uint64(len(rest)) {
			return nil, errPush
		}
		w.raw[column], rest = rest[:n], rest[n:]
	}
	return rest, nil
}

// wireFields describe the columns of eventstore.Columns.
var wireFields = func() []pgconn.FieldDescription {
	var fields []pgconn.FieldDescription
	for i, oid := range []uint32{pgtype.Int8OID, pgtype.UUIDOID, pgtype.TextOID, pgtype.TextOID, pgtype.Int8OID, pgtype.TextOID, pgtype.Int4OID,
		pgtype.JSONOID, pgtype.JSONOID, pgtype.Int2OID, pgtype.TimestamptzOID} {
		fields = append(fields, pgconn.FieldDescription{Name: strings.Split(eventstore.Columns, ", ")[i], DataTypeOID: oid, Format: pgx.BinaryFormatCode})
	}
	return fields
}()

// FieldDescriptions describes the columns.
func (w *wireRow) FieldDescriptions() []pgconn.FieldDescription { return wireFields }

// RawValues returns the columns.
func (w *wireRow) RawValues() [][]byte { return w.raw[:] }

// Scan and Values are there for the interface.
func (w *wireRow) Scan(...any) error      { return errPush }
func (w *wireRow) Values() ([]any, error) { return nil, errPush }
