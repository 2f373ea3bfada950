package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

var (
	// ErrUnknown means that nothing is registered for an event type or a Go type.
	ErrUnknown = errors.New("events: not registered")

	// ErrNewer means that the payload is of a version above the registered one: a newer program wrote it. A later one than this can
	// read it.
	ErrNewer = errors.New("events: the payload is of a newer version than this program knows")

	// ErrOlder means that the payload is of a version below those that Since or the upcasters begin with.
	ErrOlder = errors.New("events: the payload is of an older version than this program reads")

	// ErrPayload means that a payload cannot be read as the registered type, or a value not be written as a payload.
	ErrPayload = errors.New("events: the payload does not fit the registered type")

	// ErrMismatch means that an event is of another type than the one that is asked for.
	ErrMismatch = errors.New("events: the event is of another type")
)

// DecodeError says why an event cannot be read. Its text names types, versions and fields, and holds nothing of what is in the payload.
type DecodeError struct {
	Type       string // of the event
	Version    int    // of its payload
	Registered int    // the version that is registered, 0 if there is none
	Go         string // the registered Go type, "" if there is none
	Err        error  // ErrUnknown, ErrNewer, ErrOlder, ErrPayload or ErrMismatch
	Cause      error  // what the codec said, with ErrPayload; nil otherwise
}

// Error returns a sentence that says what to do.
func (e *DecodeError) Error() string {
	switch {
	case errors.Is(e.Err, ErrUnknown):
		return fmt.Sprintf("%v: events of type %s (add events.Register for it)", e.Err, e.Type)
	case errors.Is(e.Err, ErrNewer):
		return fmt.Sprintf("%v: %s has version %d, and %d is registered as %s (start a newer program)", e.Err, e.Type, e.Version, e.Registered, e.Go)
	case errors.Is(e.Err, ErrOlder):
		return fmt.Sprintf("%v: %s has version %d, and %s has no upcaster from it (add one with events.Upcast)", e.Err, e.Type, e.Version, e.Go)
	case errors.Is(e.Err, ErrMismatch):
		return fmt.Sprintf("%v: %s is no %s", e.Err, e.Type, e.Go)
	}
	return fmt.Sprintf("%v: version %d of %s as %s: %v", e.Err, e.Version, e.Type, e.Go, e.Cause)
}

// Unwrap returns Err and Cause.
func (e *DecodeError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Cause}
}

// jsonError is an error of encoding/json whose text leaves out what stands in the payload: numbers, texts, times.
type jsonError struct{ err error }

func (e jsonError) Unwrap() error { return e.err }

func (e jsonError) Error() string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(e.err, &syntax):
		return fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset)
	case errors.As(e.err, &kind):
		what, _, _ := strings.Cut(kind.Value, " ") // the word for what is there, such as number, without the number
		field := kind.Field
		if field == "" {
			field = "the whole"
		}
		return fmt.Sprintf("%s is a %s at byte %d, and has to be %s", field, what, kind.Offset, kind.Type)
	}
	return fmt.Sprintf("the reason is a %T, whose text may hold what stands in the payload", e.err)
}

// unregistered returns the ErrUnknown for a Go type that is not among what is known.
func unregistered(now known, goType reflect.Type) error {
	if goType == nil {
		return fmt.Errorf("%w: nil is no event", ErrUnknown)
	}
	if goType.Kind() == reflect.Pointer {
		if k, is := now.byType[goType.Elem()]; is {
			return fmt.Errorf("%w: %s is registered as %s, and not a pointer to it: give the value", ErrUnknown, goType.Elem(), k.names[0])
		}
	}
	return fmt.Errorf("%w: the Go type %s (add events.Register for it, before it is used)", ErrUnknown, goType)
}
