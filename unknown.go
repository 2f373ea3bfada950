package rouse

import (
	"sync"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
)

// maxUnknown bounds how many types of events are remembered as said, about 100 bytes each. Further ones are not said, and still counted.
const maxUnknown = 10_000

// unknown tells operators of events that handlers pass over because nothing knows their types: each in the Observer, and the first of each
// type in the log. Its methods are safe for concurrent use.
type unknown struct {
	log      zerolog.Logger
	observed func(projection string, ev eventstore.Event) // nil: nobody observes

	mu   sync.Mutex // protects said
	said map[unknownType]struct{}
}

// unknownType is one that a projection does not know.
type unknownType struct{ projection, eventType string }

// tell tells of an event that a projection has passed over.
func (u *unknown) tell(projection string, ev *eventstore.Event) {
	if u.first(unknownType{projection, ev.Type}) {
		u.log.Warn().Str(keyProjection, projection).Str("event_type", ev.Type).Int("event_version", ev.Version).Int64("position", ev.GlobalPosition).
			Msg("a projection passes over events of a type that it does not know")
	}
	if u.observed != nil {
		u.observed(projection, *ev)
	}
}

// first reports whether t was not said yet, and remembers it.
func (u *unknown) first(t unknownType) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, done := u.said[t]; done || len(u.said) >= maxUnknown {
		return false
	}
	if u.said == nil {
		u.said = map[unknownType]struct{}{}
	}
	u.said[t] = struct{}{}
	return true
}
