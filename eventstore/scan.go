package eventstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Columns is the select list whose rows [ScanEvent] reads.
const Columns = "global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, " +
	"payload, metadata, slot, created_at"

// The indexes of the columns in Columns.
const (
	colPosition = iota
	colID
	colAggregateType
	colAggregateID
	colAggregateVersion
	colType
	colVersion
	colPayload
	colMetadata
	colSlot
	colCreatedAt
	columnCount
)

// binaryTypes are the columns whose binary form differs from their text, with the type that decode expects.
var binaryTypes = [...]struct{ column, oid int }{
	{colPosition, pgtype.Int8OID},
	{colID, pgtype.UUIDOID},
	{colAggregateVersion, pgtype.Int8OID},
	{colVersion, pgtype.Int4OID},
	{colSlot, pgtype.Int2OID},
	{colCreatedAt, pgtype.TimestamptzOID},
}

var errColumns = errors.New("eventstore: these rows are not events: select eventstore.Columns and nothing else")

// ScanEvent reads one row of a query that selects [Columns]. It is a pgx.RowToFunc, for pgx.CollectRows and the like.
// The event has its own memory and stays valid after the row is gone.
//
// It decodes the bytes of the row by hand where the server sent the binary form, which takes about half the time of
// Scan, and falls back to Scan in the query modes that get text.
func ScanEvent(row pgx.CollectableRow) (Event, error) {
	binary, err := isBinary(row)
	if err != nil {
		return Event{}, err
	}
	raw := row.RawValues()
	if err := checkNulls(row, raw); err != nil {
		return Event{}, err
	}
	if !binary {
		return scanText(row)
	}
	return decode(raw)
}

// isBinary reports whether the server sent the binary form of a row. It returns errColumns if the row is no event.
func isBinary(row pgx.CollectableRow) (bool, error) {
	fields := row.FieldDescriptions()
	if len(fields) != columnCount {
		return false, errColumns
	}
	for _, t := range binaryTypes {
		f := &fields[t.column]
		if f.DataTypeOID != uint32(t.oid) {
			return false, errColumns
		}
		if f.Format != pgtype.BinaryFormatCode {
			return false, nil
		}
	}
	return true, nil
}

// checkNulls returns an error if one of the columns is null.
func checkNulls(row pgx.CollectableRow, raw [][]byte) error {
	if len(raw) != columnCount {
		return errColumns
	}
	for i, v := range raw {
		if v == nil {
			return fmt.Errorf("eventstore: %s of an event is null: the table events has lost its NOT NULL", row.FieldDescriptions()[i].Name)
		}
	}
	return nil
}

// decode returns the event in the binary form of the columns. The raw values belong to the connection and are
// overwritten by the next row, so everything is copied: the texts into one string and the JSON into one slice, two
// allocations per event.
func decode(raw [][]byte) (Event, error) {
	if err := checkLengths(raw); err != nil {
		return Event{}, err
	}
	types, ids := len(raw[colAggregateType]), len(raw[colAggregateID])
	texts := make([]byte, 0, types+ids+len(raw[colType]))
	texts = append(append(append(texts, raw[colAggregateType]...), raw[colAggregateID]...), raw[colType]...)
	text := string(texts)

	payload := len(raw[colPayload])
	json := make([]byte, 0, payload+len(raw[colMetadata]))
	json = append(append(json, raw[colPayload]...), raw[colMetadata]...)

	var ev Event
	numbers(raw, &ev)
	ev.AggregateType, ev.AggregateID, ev.Type = text[:types], text[types:types+ids], text[types+ids:]
	ev.Payload = json[:payload:payload] // full, so that appending to it does not reach the metadata
	ev.Metadata = json[payload:]
	return ev, nil
}

// numbers reads the columns of fixed length into ev.
func numbers(raw [][]byte, ev *Event) {
	ev.GlobalPosition = int64(binary.BigEndian.Uint64(raw[colPosition]))
	ev.ID = ID(raw[colID])
	ev.AggregateVersion = int64(binary.BigEndian.Uint64(raw[colAggregateVersion]))
	ev.Version = int(int32(binary.BigEndian.Uint32(raw[colVersion])))
	ev.Slot = int16(binary.BigEndian.Uint16(raw[colSlot]))
	ev.CreatedAt = decodeTime(int64(binary.BigEndian.Uint64(raw[colCreatedAt])))
}

// checkLengths returns errColumns if a column of fixed length has another length, which decode would read beyond.
func checkLengths(raw [][]byte) error {
	if len(raw[colPosition]) != 8 || len(raw[colID]) != 16 || len(raw[colAggregateVersion]) != 8 ||
		len(raw[colVersion]) != 4 || len(raw[colSlot]) != 2 || len(raw[colCreatedAt]) != 8 {
		return errColumns
	}
	return nil
}

// scanText returns the event in a row whose values came as text.
func scanText(row pgx.CollectableRow) (Event, error) {
	var e Event
	var payload, metadata []byte
	var createdAt pgtype.Timestamptz
	err := row.Scan(&e.GlobalPosition, &e.ID, &e.AggregateType, &e.AggregateID, &e.AggregateVersion, &e.Type, &e.Version,
		&payload, &metadata, &e.Slot, &createdAt)
	if err != nil {
		return Event{}, fmt.Errorf("eventstore: read an event: %w", err)
	}
	e.Payload, e.Metadata = payload, metadata
	switch createdAt.InfinityModifier {
	case pgtype.Infinity:
		e.CreatedAt = latest
	case pgtype.NegativeInfinity:
		e.CreatedAt = earliest
	default:
		e.CreatedAt = clampTime(createdAt.Time)
	}
	return e, nil
}

// A writer of plain SQL may set created_at to infinity, or to a year that time.Time cannot encode as JSON. Such an event
// must not stop a reader, so its time reads as the last or the first that can be encoded.
var (
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)
	earliest = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
)

// epochSeconds is 2000-01-01 UTC, from which PostgreSQL counts microseconds, in seconds since 1970.
const epochSeconds = 946684800

// decodeTime returns the time that is micros microseconds after 2000-01-01 UTC.
func decodeTime(micros int64) time.Time {
	switch micros {
	case math.MaxInt64:
		return latest
	case math.MinInt64:
		return earliest
	}
	return clampTime(time.Unix(epochSeconds+micros/1e6, micros%1e6*1e3)) // time.Unix takes a negative remainder
}

// clampTime returns t in UTC, between earliest and latest.
func clampTime(t time.Time) time.Time {
	t = t.UTC()
	switch {
	case t.After(latest):
		return latest
	case t.Before(earliest):
		return earliest
	}
	return t
}
