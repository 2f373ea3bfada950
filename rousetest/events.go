package rousetest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// began is the time of the first event of a builder that says no other: a Monday.
var began = time.Date(2024, time.January, 1, 9, 0, 0, 0, time.UTC)

// Builder builds the events of one stream, complete as a handler gets them: with ids, versions, positions and times, which are the
// same in each run. Make it with Stream. Its methods return it, so that they can be chained; those that are given what is no event
// panic, with a sentence that says why.
type Builder struct {
	stream   eventstore.Stream
	registry *events.Registry
	version  int64
	at       time.Time
	metadata json.RawMessage
	events   []eventstore.Event
}

// Stream returns a Builder for a stream without events. Its first event has version 1 and the time 2024-01-01 09:00:00 UTC; each
// has that of the one before and a second.
func Stream(aggregateType, aggregateID string) *Builder {
	return &Builder{stream: eventstore.Stream{Type: aggregateType, ID: aggregateID}, registry: events.Default, at: began, metadata: json.RawMessage(`{}`)}
}

// After lets the next event have the version after this one.
func (b *Builder) After(version int64) *Builder {
	b.version = version
	return b
}

// At lets the next event have this time.
func (b *Builder) At(at time.Time) *Builder {
	b.at = at.UTC().Truncate(time.Microsecond) // as the database has it
	return b
}

// Metadata lets the events that come have this metadata, a JSON object.
func (b *Builder) Metadata(object string) *Builder {
	if !json.Valid([]byte(object)) {
		panic(fmt.Sprintf("rousetest: the metadata of %s is not valid JSON", b.stream))
	}
	b.metadata = json.RawMessage(object)
	return b
}

// In lets Add look for the types of values in a registry. Without it these are looked for in events.Default.
func (b *Builder) In(registry *events.Registry) *Builder {
	b.registry = registry
	return b
}

// Add adds events: values of types that are registered with package events, or an eventstore.NewEvent each.
func (b *Builder) Add(values ...any) *Builder {
	for _, v := range values {
		ev, err := newEvent(b.registry, v)
		if err != nil {
			panic(fmt.Sprintf("rousetest: an event of %s: %v", b.stream, err))
		}
		b.add(ev)
	}
	return b
}

// JSON adds an event by its type and its payload, of version 1.
func (b *Builder) JSON(eventType, payload string) *Builder {
	return b.Add(eventstore.NewEvent{Type: eventType, Payload: json.RawMessage(payload)})
}

func (b *Builder) add(ev eventstore.NewEvent) {
	if ev.Type == "" || !json.Valid(ev.Payload) {
		panic(fmt.Sprintf("rousetest: an event of %s has no type, or its payload is not valid JSON", b.stream))
	}
	b.version++
	e := eventstore.Event{
		GlobalPosition: int64(len(b.events) + 1), ID: ev.ID, AggregateType: b.stream.Type, AggregateID: b.stream.ID, AggregateVersion: b.version,
		Type: ev.Type, Version: max(ev.Version, 1), Payload: ev.Payload, Metadata: ev.Metadata, CreatedAt: b.at,
	}
	if e.ID.IsZero() {
		e.ID = idOf(e)
	}
	if len(e.Metadata) == 0 {
		e.Metadata = b.metadata
	}
	b.at = b.at.Add(time.Second)
	b.events = append(b.events, e)
}

// Events returns the events that were added. Their positions count from 1; a scenario gives those of several builders new ones, in
// the order in which it gets them. Their Slot is 0, for the database computes it.
func (b *Builder) Events() []eventstore.Event { return append([]eventstore.Event(nil), b.events...) }

// idOf returns an id for an event, by its place: a UUID of version 8.
func idOf(e eventstore.Event) (id eventstore.ID) {
	h := sha256.New()
	for _, s := range []string{e.AggregateType, e.AggregateID} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.AppendVarint(nil, e.AggregateVersion))
	copy(id[:], h.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// newEvent returns v as an event to append.
func newEvent(registry *events.Registry, v any) (eventstore.NewEvent, error) {
	switch v := v.(type) {
	case eventstore.NewEvent:
		return v, nil
	case eventstore.Event: // at another place
		return eventstore.NewEvent{Type: v.Type, Version: v.Version, Payload: v.Payload, Metadata: v.Metadata}, nil
	}
	return registry.New(v)
}
