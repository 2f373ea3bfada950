package eventstore

import (
	"encoding/json"
	"time"
)

// Event is one event as it is stored. Events are values; the functions of this package return each with its own memory,
// so keeping one and changing its payload touches no other.
type Event struct {
	// GlobalPosition is the event's place in the log, at least 1. Positions rise, but not all exist: an append that
	// rolled back leaves a hole.
	GlobalPosition int64 `json:"global_position"`
	// ID identifies the event everywhere, for ever. It is the right key to make effects outside the database idempotent;
	// a position is not, since one that a crash took back is given out again.
	ID ID `json:"event_id"`
	// AggregateType and AggregateID name the stream that the event belongs to.
	AggregateType string `json:"aggregate_type"`
	AggregateID   string `json:"aggregate_id"`
	// AggregateVersion is the event's number in its stream. The first is 1.
	AggregateVersion int64 `json:"aggregate_version"`
	// Type is the kind of event, such as "OrderPaid".
	Type string `json:"event_type"`
	// Version is the version of the payload's schema, at least 1. It is independent of AggregateVersion.
	Version int `json:"event_version"`
	// Payload is the event's data: valid JSON, byte for byte as it was appended.
	Payload json.RawMessage `json:"payload"`
	// Metadata is data about the event, such as the user who caused it or a trace context: valid JSON, {} if there is
	// none.
	Metadata json.RawMessage `json:"metadata"`
	// Slot is the hash of AggregateID, 0 to 1023. It decides the partition, is computed by the database, and never changes.
	Slot int16 `json:"slot"`
	// CreatedAt is the database's clock at the insert, in UTC with microseconds. It does not order events:
	// GlobalPosition does.
	CreatedAt time.Time `json:"created_at"`
}

// Stream returns the stream that the event belongs to.
func (e Event) Stream() Stream {
	return Stream{Type: e.AggregateType, ID: e.AggregateID}
}

// Stream names the events of one aggregate.
type Stream struct {
	// Type is the kind of aggregate, such as "order". Required.
	Type string
	// ID tells aggregates of one type apart. Required. Type and ID together are at most 2048 bytes.
	ID string
}

// String returns the type and the id, for people. It is no key: "a/b" and "c" read like "a" and "b/c".
func (s Stream) String() string {
	return s.Type + "/" + s.ID
}

// NewEvent is an event to be appended. The stream and the database supply the other fields of [Event].
type NewEvent struct {
	// ID identifies the event. The zero ID stands for a new one from [NewID]. An id chosen by the caller makes an append
	// repeatable: the second attempt ends in [ErrDuplicateID] instead of a second event.
	ID ID
	// Type is the kind of event, such as "OrderPaid". Required.
	Type string
	// Version is the version of the payload's schema. 0 stands for 1; at most 2147483647.
	Version int
	// Payload is the event's data. Required, and valid JSON: an event without data has json.RawMessage(`{}`).
	Payload json.RawMessage
	// Metadata is data about the event. Empty stands for {}; otherwise valid JSON.
	Metadata json.RawMessage
}
