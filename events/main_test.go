package events_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type placedV1 struct{ Name, Euros string }

type placedV2 struct {
	Customer string
	Euros    int64
}

type placed struct {
	Customer string   `json:"customer"`
	Cents    int64    `json:"cents"`
	Lines    []string `json:"lines,omitempty"`
}

type paid struct {
	Cents int64 `json:"cents"`
}

// stored is ne as it would be read back.
func stored(ne eventstore.NewEvent) eventstore.Event {
	return eventstore.Event{GlobalPosition: 1, AggregateType: "order", AggregateID: "1", AggregateVersion: 1, ID: ne.ID, Type: ne.Type, Version: ne.Version, Payload: ne.Payload, Metadata: ne.Metadata}
}

// event is one with a payload of a version.
func event(eventType string, version int, payload string) eventstore.Event {
	return eventstore.Event{GlobalPosition: 1, AggregateType: "order", AggregateID: "1", AggregateVersion: 1, Type: eventType, Version: version, Payload: []byte(payload)}
}

// registry is one for a test alone.
func registry() (*events.Registry, events.Option) {
	r := &events.Registry{}
	return r, events.In(r)
}
