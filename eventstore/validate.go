package eventstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// maxStreamBytes bounds a stream's type and id together. The unique index over them holds rows of at most 2704 bytes
// (a third of a page); the version and the headers need some of that.
const maxStreamBytes = 2048

// row is an event in the form in which it is sent to the database: text, which every query mode of pgx can carry. Byte
// slices would arrive as bytea in the modes that do not ask the server for parameter types.
type row struct {
	id, eventType, payload, metadata string
	version                          int32
}

// rowsOf returns the rows of an append, or the error that refuses it. An error that PostgreSQL raises ends the caller's
// transaction, so every fault that can be known here is refused here.
func rowsOf(stream Stream, expected Expected, events []NewEvent) ([]row, error) {
	if len(events) == 0 {
		return nil, ErrNoEvents
	}
	if err := validateTarget(stream, expected); err != nil {
		return nil, err
	}
	rows := make([]row, len(events))
	seen := make(map[ID]struct{})
	for i, e := range events {
		if err := validateEvent(e); err != nil {
			return nil, fmt.Errorf("%w: event %d of %d: %w", ErrInvalid, i+1, len(events), err)
		}
		if !e.ID.IsZero() {
			if _, twice := seen[e.ID]; twice {
				return nil, fmt.Errorf("%w: %s is given twice in one append", ErrDuplicateID, e.ID)
			}
			seen[e.ID] = struct{}{}
		}
		rows[i] = rowOf(e)
	}
	return rows, nil
}

// rowOf returns the row of e, with its defaults.
func rowOf(e NewEvent) row {
	r := row{
		id:        e.ID.String(),
		eventType: e.Type,
		payload:   string(e.Payload),
		metadata:  string(e.Metadata),
		version:   int32(e.Version),
	}
	if e.ID.IsZero() {
		r.id = NewID().String()
	}
	if r.metadata == "" {
		r.metadata = "{}"
	}
	if r.version == 0 {
		r.version = 1
	}
	return r
}

// validateTarget returns an error that wraps ErrInvalid if the stream or the expectation cannot be stored.
func validateTarget(stream Stream, expected Expected) error {
	if err := validateText("the stream's type", stream.Type); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := validateText("the stream's id", stream.ID); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n := len(stream.Type) + len(stream.ID); n > maxStreamBytes {
		return fmt.Errorf("%w: the stream's type and id have %d bytes together, at most %d fit into the index",
			ErrInvalid, n, maxStreamBytes)
	}
	if expected.version < 0 {
		return fmt.Errorf("%w: expected version %d: versions start at 1, use NoStream or Any for a stream without one",
			ErrInvalid, expected.version)
	}
	return nil
}

// validateEvent returns an error if a field of e cannot be stored. It does not wrap ErrInvalid; rowsOf does.
func validateEvent(e NewEvent) error {
	if err := validateText("the type", e.Type); err != nil {
		return err
	}
	if e.Version < 0 || e.Version > math.MaxInt32 {
		return fmt.Errorf("schema version %d is outside 1 to %d (0 stands for 1)", e.Version, math.MaxInt32)
	}
	if len(e.Payload) == 0 {
		return errors.New("the payload is missing: give json.RawMessage(`{}`) to an event without data")
	}
	if err := validateJSON("the payload", e.Payload); err != nil {
		return err
	}
	if len(e.Metadata) == 0 {
		return nil
	}
	return validateJSON("the metadata", e.Metadata)
}

// validateText returns an error if a text column cannot hold s. what names it.
func validateText(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is empty", what)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is not valid UTF-8", what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%s contains a zero byte, which PostgreSQL cannot store", what)
	}
	return nil
}

// validateJSON returns an error if a json column cannot hold raw. The escape \u0000 is valid: the column keeps the text
// as it is.
func validateJSON(what string, raw json.RawMessage) error {
	switch {
	case !utf8.Valid(raw):
		return fmt.Errorf("%s is not valid UTF-8", what)
	case !json.Valid(raw):
		return fmt.Errorf("%s is not valid JSON: build it with json.Marshal", what)
	}
	return nil
}
