// Package traits is what the root package and package projection agree on about handlers that are made of functions. The type of such a
// handler has the methods of every optional interface, and the value says which of them count.
package traits

import (
	"reflect"

	"github.com/rouse-es/rouse/eventstore"
)

// Interface is an optional interface of a handler, such as rouse.Resetter.
type Interface struct{ t reflect.Type }

// Of returns the Interface that T is.
func Of[T any]() Interface { return Interface{reflect.TypeFor[T]()} }

// Partial is a handler that lacks some of the optional interfaces whose methods it has.
type Partial interface {
	// Lacks reports whether the handler is to be taken as one without i.
	Lacks(i Interface) bool
}

// Telling is a handler that tells of events that it passes over because their types are not known.
type Telling interface {
	// Telling returns the handler for one worker: it calls tell with each such event, on many goroutines. tell must not keep it.
	Telling(tell func(ev *eventstore.Event)) any
}

// Starting is a handler that is not told where it begins by a method, but by something else.
type Starting interface {
	// StartLine returns what to write for that, where start is the name of a rouse.Start, such as Now.
	StartLine(start string) string
}
