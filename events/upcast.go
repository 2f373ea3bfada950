package events

import (
	"reflect"
	"slices"

	"github.com/rouse-es/rouse/eventstore"
)

// Upcast makes a payload of one version one of the next. Several follow each other, the oldest first: the last leads to the
// registered type. What is stored stays as it is; the event is made anew each time that it is read. f must not fail, wait, or depend on
// anything but its argument, and is called by many goroutines.
//
// A version that has more fields than the one before, and means the same without them, needs no type of its own for the older one:
//
//	events.Upcast(func(e OrderPlaced) OrderPlaced { e.Currency = "EUR"; return e })
func Upcast[From, To any](f func(From) To) Option {
	if f == nil {
		return UpcastEvent[From, To](nil)
	}
	return UpcastEvent(func(from From, _ eventstore.Event) To { return f(from) })
}

// UpcastEvent is Upcast for a step that needs something of the event besides its payload, such as the time at which it was appended.
func UpcastEvent[From, To any](f func(from From, ev eventstore.Event) To) Option {
	return func(d *draft) { d.steps = append(d.steps, upcast[From, To]{f}) }
}

// step is an upcast whose types are not known. A way is a func(From, eventstore.Event, any) that leads from the From of a step to the
// current version, which it writes through a pointer; no value on it is boxed.
type step interface {
	types() (from, to reflect.Type)
	missing() bool
	last() (way any)              // if To is the current version
	before(next any) (way any)    // next is the way from To
	reader(way any) (read reader) // way is that from From
}

// upcast is the step from From to To.
type upcast[From, To any] struct {
	f func(from From, ev eventstore.Event) To
}

func (u upcast[From, To]) types() (from, to reflect.Type) {
	return reflect.TypeFor[From](), reflect.TypeFor[To]()
}

func (u upcast[From, To]) missing() bool { return u.f == nil }

func (u upcast[From, To]) last() any {
	return func(from From, ev eventstore.Event, out any) { *out.(*To) = u.f(from, ev) }
}

func (u upcast[From, To]) before(next any) any {
	rest := next.(func(To, eventstore.Event, any))
	return func(from From, ev eventstore.Event, out any) { rest(u.f(from, ev), ev, out) }
}

func (u upcast[From, To]) reader(way any) reader {
	read, rest := directly[From](), way.(func(From, eventstore.Event, any))
	return func(codec Codec, ev eventstore.Event, out any) error {
		var from From
		if err := read(codec, ev, &from); err != nil {
			return err
		}
		rest(from, ev, out)
		return nil
	}
}

// readers returns what reads each version, the oldest first. current reads the current one.
func (d *draft) readers(current reader) []reader {
	all := []reader{current}
	var way any
	for i, s := range slices.Backward(d.steps) {
		if i == len(d.steps)-1 {
			way = s.last()
		} else {
			way = s.before(way)
		}
		all = append(all, s.reader(way))
	}
	slices.Reverse(all)
	return all
}

// directly returns the reader of a payload that is a T itself. For a pointer it makes what it points to.
func directly[T any]() reader {
	goType := reflect.TypeFor[T]()
	if goType.Kind() != reflect.Pointer {
		return func(codec Codec, ev eventstore.Event, out any) error { return codec.Decode(ev.Payload, out) }
	}
	return func(codec Codec, ev eventstore.Event, out any) error {
		made := reflect.New(goType.Elem()).Interface()
		*out.(*T) = made.(T)
		return codec.Decode(ev.Payload, made)
	}
}
