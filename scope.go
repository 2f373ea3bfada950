package rouse

import (
	"maps"
	"slices"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

// EventTyped is a Projection or an Effect that wants events of some types only. All others are passed over, and its
// checkpoints move on over them. Scopes may grow later: events of a new type count from there on, not from the beginning.
type EventTyped interface {
	// EventTypes are the types it wants. It is asked once, by New; none at all means every event.
	EventTypes() []string
}

// AggregateTyped is a Projection or an Effect that wants events of some types of aggregates only. Together with EventTyped
// both have to agree.
type AggregateTyped interface {
	// AggregateTypes are the types it wants. It is asked once, by New; none at all means every event.
	AggregateTypes() []string
}

// scope is which events a handler wants.
type scope struct {
	eventTypes, aggregateTypes map[string]struct{} // empty: all
}

func scopeOf(handler any) scope {
	handler = optional(handler)
	var s scope
	if typed, is := handler.(EventTyped); is {
		s.eventTypes = set(typed.EventTypes())
	}
	if typed, is := handler.(AggregateTyped); is {
		s.aggregateTypes = set(typed.AggregateTypes())
	}
	return s
}

func set(names []string) map[string]struct{} {
	s := make(map[string]struct{}, len(names))
	for _, name := range names {
		s[name] = struct{}{}
	}
	return s
}

func (s *scope) has(ev *eventstore.Event) bool {
	return in(s.eventTypes, ev.Type) && in(s.aggregateTypes, ev.AggregateType)
}

func in(names map[string]struct{}, name string) bool {
	if len(names) == 0 {
		return true
	}
	_, is := names[name]
	return is
}

// types is the scope in the form that a reader takes.
func (s scope) types() catchup.Types {
	return catchup.Types{Events: slices.Sorted(maps.Keys(s.eventTypes)), Aggregates: slices.Sorted(maps.Keys(s.aggregateTypes))}
}
