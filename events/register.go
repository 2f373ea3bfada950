package events

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rouse-es/rouse/eventstore"
)

// Type is an event type whose Go type is T, as Register has made it. It is a value that may be copied, and is safe for concurrent use.
type Type[T any] struct{ k *kind }

// Name returns the name of the event type.
func (t Type[T]) Name() string { return t.k.names[0] }

// Names returns the name of the event type and those that it had formerly.
func (t Type[T]) Names() []string { return slices.Clone(t.k.names) }

// Version returns the version of payloads as they are written now.
func (t Type[T]) Version() int { return t.k.version }

// New returns e as an event to be appended.
func (t Type[T]) New(e T, options ...NewOption) (eventstore.NewEvent, error) {
	return t.k.new(e, options)
}

// Decode returns ev as a T of the current version. It gives ErrMismatch for an event of another type, and otherwise the errors of
// Registry.Decode.
func (t Type[T]) Decode(ev eventstore.Event) (T, error) {
	var e T
	if !t.k.is(&ev) {
		return e, &DecodeError{Type: ev.Type, Version: versionOf(ev), Registered: t.k.version, Go: t.k.goType.String(), Err: ErrMismatch}
	}
	read, err := t.k.reader(ev)
	if err != nil {
		return e, err
	}
	if err := read(t.k.codec, ev, &e); err != nil {
		return e, t.k.refused(ev, err)
	}
	return e, nil
}

// As returns ev as a T, by Default.
func As[T any](ev eventstore.Event) (T, error) { return AsOf[T](Default, ev) }

// AsOf returns ev as a T, by a registry.
func AsOf[T any](registry *Registry, ev eventstore.Event) (T, error) {
	t, err := TypeOf[T](registry)
	if err != nil {
		var none T
		return none, err
	}
	return t.Decode(ev)
}

// TypeOf returns the event type that is registered for T, or ErrUnknown. Who decodes many events of one type asks once.
func TypeOf[T any](registry *Registry) (Type[T], error) {
	goType := reflect.TypeFor[T]()
	now := registry.look()
	k, is := now.byType[goType]
	if !is {
		return Type[T]{}, unregistered(now, goType)
	}
	return Type[T]{k}, nil
}

// Option is something that Register says of an event type besides its name and version.
type Option func(d *draft)

// draft is what Register collects before it makes a kind of it.
type draft struct {
	registry *Registry
	codec    Codec
	since    int // 0: the option Since is not given
	former   []string
	steps    []step
}

// In registers the event type in a registry of its own. Default: Default.
func In(registry *Registry) Option { return func(d *draft) { d.registry = registry } }

// With has the payloads written and read by codec. Default: encoding/json.
func With(codec Codec) Option { return func(d *draft) { d.codec = codec } }

// Since says that no event with a payload below version exists, so that upcasters need not begin at 1. One that does exist is
// refused with ErrOlder.
func Since(version int) Option { return func(d *draft) { d.since = version } }

// Formerly says that the event type had other names, under which events are in the log. These are read as it is, with the same versions; new ones
// have its present name.
func Formerly(names ...string) Option {
	return func(d *draft) { d.former = append(d.former, names...) }
}

// Register says that events of the type name are values of T, and that the version of their payloads is version, as they are written
// from now on. It is called once for each type, when the program starts: from a package variable, an init or the beginning of main.
//
// Payloads of lower versions are read by upcasters, one for each step from 1 to version (Upcast), or from where Since says. T is a
// type of its own, most often a struct; a pointer only with a codec that wants one (With).
//
// Register panics, with one sentence that says what to do, if a type or a name is registered twice, the version is below 1, the
// upcasters do not lead from the oldest version to T, or T cannot be a payload.
func Register[T any](name string, version int, options ...Option) Type[T] {
	d := draft{registry: Default}
	for _, option := range options {
		option(&d)
	}
	goType := reflect.TypeFor[T]()
	refuse := func(format string, args ...any) {
		panic(fmt.Sprintf("events: %s cannot be registered as %q: ", goType, name) + fmt.Sprintf(format, args...))
	}
	for _, n := range append([]string{name}, d.former...) {
		if n == "" || !utf8.ValidString(n) || strings.ContainsRune(n, 0) {
			refuse("the name %q of an event type must be text that is not empty", n)
		}
	}
	if d.registry == nil {
		refuse("events.In has no registry")
	}
	own := d.codec != nil
	if !own {
		d.codec = jsonCodec{}
	}
	if fault := typeFault(goType, own); fault != "" {
		refuse("%s", fault)
	}
	oldest, fault := d.oldest(goType, version, own)
	if fault != "" {
		refuse("%s", fault)
	}
	k := &kind{names: append([]string{name}, d.former...), version: version, oldest: oldest, goType: goType, codec: d.codec, readers: d.readers(directly[T]())}
	k.value = func(read reader, codec Codec, ev eventstore.Event) (any, error) {
		var e T
		if err := read(codec, ev, &e); err != nil {
			return nil, err
		}
		return e, nil
	}
	d.registry.add(k)
	return Type[T]{k}
}

// typeFault returns why goType cannot be a payload, "" if it can. own says that there is a codec of its own.
func typeFault(goType reflect.Type, own bool) string {
	switch kind := goType.Kind(); {
	case kind == reflect.Interface:
		return "an interface is no type of an event: register the types that implement it"
	case kind == reflect.Pointer && !own:
		return "register " + goType.Elem().String() + ", not a pointer to it (a pointer needs a codec that wants one: events.With)"
	case kind == reflect.Pointer && goType.Elem().Kind() != reflect.Struct:
		return "a pointer must be one to a struct"
	case kind == reflect.Chan, kind == reflect.Func, kind == reflect.UnsafePointer:
		return "it cannot be written as data"
	}
	return ""
}

// oldest returns the oldest version that can be read as goType, or what is wrong with the versions and the upcasters.
func (d *draft) oldest(goType reflect.Type, version int, own bool) (oldest int, fault string) {
	switch {
	case version < 1 || version > math.MaxInt32:
		return 0, fmt.Sprintf("version %d is not from 1 to %d", version, math.MaxInt32)
	case d.since < 0 || d.since > version:
		return 0, fmt.Sprintf("events.Since(%d) is not from 1 to its version %d", d.since, version)
	}
	oldest = max(d.since, 1)
	if want, have := version-oldest, len(d.steps); want != have {
		return 0, fmt.Sprintf("from version %d to %d there are %d steps, and it has %d upcasters: give one events.Upcast for each, the oldest first, or say the oldest version there is with events.Since", oldest, version, want, have)
	}
	for i, s := range d.steps {
		from, to := s.types()
		want, next := goType, version
		if i+1 < len(d.steps) {
			want, _ = d.steps[i+1].types()
			next = oldest + i + 1
		}
		if to != want {
			return 0, fmt.Sprintf("the upcaster from version %d returns %s, and version %d is %s", oldest+i, to, next, want)
		}
		if fault := typeFault(from, own); fault != "" {
			return 0, fmt.Sprintf("version %d is %s: %s", oldest+i, from, fault)
		}
		if s.missing() {
			return 0, fmt.Sprintf("the upcaster from version %d is nil", oldest+i)
		}
	}
	return oldest, ""
}
