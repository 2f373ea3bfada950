package events

import (
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/rouse-es/rouse/eventstore"
)

// Default is the registry of everything that does not name one of its own.
var Default = &Registry{}

// Registry knows which Go type the events of a type are. Most programs need Default alone; one of their own is for tests, and for
// programs that speak two vocabularies. The zero value is empty and ready. Its methods are safe for concurrent use.
type Registry struct {
	mu    sync.Mutex // held by whoever adds
	known atomic.Pointer[known]
}

// known is what a Registry holds at one moment. It is never changed, so that readers need no lock.
type known struct {
	byName map[string]*kind
	byType map[reflect.Type]*kind
}

// kind is what is known of the events of one type.
type kind struct {
	names   []string // of the type: first what it is called now, then what it was called formerly
	version int      // of the payload, as it is written now
	oldest  int      // of the versions that can be read
	goType  reflect.Type
	codec   Codec
	readers []reader // by version, from oldest to version

	// value reads an event into a value of goType by one of the readers.
	value func(read reader, codec Codec, ev eventstore.Event) (any, error)
}

// reader reads the payload of ev into *out, a pointer to a value of the current version.
type reader func(codec Codec, ev eventstore.Event, out any) error

// look returns what r holds.
func (r *Registry) look() known {
	if k := r.known.Load(); k != nil {
		return *k
	}
	return known{}
}

// add adds k, or panics if one of its names or its Go type is there already.
func (r *Registry) add(k *kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.look()
	if have, is := now.byType[k.goType]; is {
		panic(fmt.Sprintf("events: %s is registered as %s already, and cannot be %s too: give one of the two a Go type of its own", k.goType, have.names[0], k.names[0]))
	}
	next := known{byName: map[string]*kind{}, byType: map[reflect.Type]*kind{k.goType: k}}
	maps.Copy(next.byName, now.byName)
	maps.Copy(next.byType, now.byType)
	for _, name := range k.names {
		if have, is := next.byName[name]; is {
			panic(fmt.Sprintf("events: the event type %s is registered twice, as %s and as %s: remove one, or give it to another registry with events.In", name, have.goType, k.goType))
		}
		next.byName[name] = k
	}
	r.known.Store(&next)
}

// New returns e as an event to be appended: under the type and the version that are registered for its Go type. It gives ErrUnknown for
// a value that is not registered, and ErrPayload for one that the codec does not take.
func (r *Registry) New(e any, options ...NewOption) (eventstore.NewEvent, error) {
	k, is := r.look().byType[reflect.TypeOf(e)]
	if !is {
		return eventstore.NewEvent{}, unregistered(r.look(), reflect.TypeOf(e))
	}
	return k.new(e, options)
}

// Encode returns values as events to be appended, in their order. A value that is an eventstore.NewEvent already stays as it is.
func (r *Registry) Encode(values ...any) ([]eventstore.NewEvent, error) {
	all := make([]eventstore.NewEvent, len(values))
	for i, value := range values {
		if ready, is := value.(eventstore.NewEvent); is {
			all[i] = ready
			continue
		}
		one, err := r.New(value)
		if err != nil {
			return nil, err
		}
		all[i] = one
	}
	return all, nil
}

// Decode returns ev as a value of the Go type that is registered for it, in the current version. Its errors are DecodeErrors: ErrUnknown,
// ErrNewer, ErrOlder, ErrPayload.
func (r *Registry) Decode(ev eventstore.Event) (any, error) {
	k, is := r.look().byName[ev.Type]
	if !is {
		return nil, &DecodeError{Type: ev.Type, Version: versionOf(ev), Err: ErrUnknown}
	}
	read, err := k.reader(ev)
	if err != nil {
		return nil, err
	}
	value, err := k.value(read, k.codec, ev)
	if err != nil {
		return nil, k.refused(ev, err)
	}
	return value, nil
}

// Knows reports whether events of a type, under its present or a former name, are registered.
func (r *Registry) Knows(eventType string) bool {
	_, is := r.look().byName[eventType]
	return is
}

// New is Default.New.
func New(e any, options ...NewOption) (eventstore.NewEvent, error) { return Default.New(e, options...) }

// Encode is Default.Encode.
func Encode(values ...any) ([]eventstore.NewEvent, error) { return Default.Encode(values...) }

// Decode is Default.Decode.
func Decode(ev eventstore.Event) (any, error) { return Default.Decode(ev) }

// NewOption is something that New says of an event besides its value.
type NewOption func(k *kind, e *eventstore.NewEvent) error

// WithID gives the event an id, which makes the append repeatable. See eventstore.NewEvent.
func WithID(id eventstore.ID) NewOption {
	return func(_ *kind, e *eventstore.NewEvent) error {
		e.ID = id
		return nil
	}
}

// WithMetadata gives the event metadata: a value that encoding/json makes an object of.
func WithMetadata(metadata any) NewOption {
	return func(k *kind, e *eventstore.NewEvent) (err error) {
		if e.Metadata, err = (jsonCodec{}).Encode(metadata); err != nil {
			return fmt.Errorf("%w: the metadata of %s: %w", ErrPayload, k.names[0], err)
		}
		return nil
	}
}

// new returns e, a value of k, as an event to be appended.
func (k *kind) new(e any, options []NewOption) (eventstore.NewEvent, error) {
	payload, err := k.codec.Encode(e)
	if err != nil {
		return eventstore.NewEvent{}, fmt.Errorf("%w: %s as %s: %w", ErrPayload, k.goType, k.names[0], err)
	}
	ev := eventstore.NewEvent{Type: k.names[0], Version: k.version, Payload: payload}
	for _, option := range options {
		if err := option(k, &ev); err != nil {
			return eventstore.NewEvent{}, err
		}
	}
	return ev, nil
}

// is reports whether ev is of one of the names of k. Their number is one, hardly ever two.
func (k *kind) is(ev *eventstore.Event) bool {
	for _, name := range k.names {
		if name == ev.Type {
			return true
		}
	}
	return false
}

// reader returns what reads the version of ev, or a DecodeError.
func (k *kind) reader(ev eventstore.Event) (reader, error) {
	version := versionOf(ev)
	switch {
	case version > k.version:
		return nil, &DecodeError{Type: ev.Type, Version: version, Registered: k.version, Go: k.goType.String(), Err: ErrNewer}
	case version < k.oldest:
		return nil, &DecodeError{Type: ev.Type, Version: version, Registered: k.version, Go: k.goType.String(), Err: ErrOlder}
	}
	return k.readers[version-k.oldest], nil
}

// refused returns the DecodeError of a payload that the codec refused with cause.
func (k *kind) refused(ev eventstore.Event, cause error) error {
	return &DecodeError{Type: ev.Type, Version: versionOf(ev), Registered: k.version, Go: k.goType.String(), Err: ErrPayload, Cause: cause}
}

// versionOf returns the version of the payload of ev. 0 stands for 1, as in eventstore.NewEvent.
func versionOf(ev eventstore.Event) int { return max(ev.Version, 1) }
