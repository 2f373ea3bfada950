package apply

import (
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

// scope is the set of events that a handler handles.
type scope struct {
	eventTypes, aggregateTypes map[string]struct{} // empty: all
}

// newScope returns the scope of types.
func newScope(types catchup.Types) scope { return scope{set(types.Events), set(types.Aggregates)} }

// set returns names as a set.
func set(names []string) map[string]struct{} {
	s := make(map[string]struct{}, len(names))
	for _, name := range names {
		s[name] = struct{}{}
	}
	return s
}

// has reports whether the types of ev are in s.
func (s *scope) has(ev *eventstore.Event) bool {
	return in(s.eventTypes, ev.Type) && in(s.aggregateTypes, ev.AggregateType)
}

// in reports whether name is in names, or names is empty.
func in(names map[string]struct{}, name string) bool {
	if len(names) == 0 {
		return true
	}
	_, is := names[name]
	return is
}
