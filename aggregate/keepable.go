package aggregate

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// keepable has, by type of state, the sentence that says why it cannot be kept as JSON, "" if it can.
var keepable sync.Map

// checkState returns an error if values of a type cannot be kept as a snapshot. It looks at each type once.
func checkState(state reflect.Type) error {
	fault, known := keepable.Load(state)
	if !known {
		fault, _ = keepable.LoadOrStore(state, stateFault(state, state.String(), map[reflect.Type]bool{}))
	}
	if fault != "" {
		return fmt.Errorf("%w: a %s cannot be kept as a snapshot: %s (give its type MarshalJSON and UnmarshalJSON, or leave Snapshot out)", ErrOption, state, fault)
	}
	return nil
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bothWays reports whether a type says by itself how it is written and read.
func bothWays(t, write, read reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return (t.Implements(write) || pointer.Implements(write)) && pointer.Implements(read)
}

// stateFault returns why values of t, which is found at a place in the state, would not come back from JSON as they were.
func stateFault(t reflect.Type, place string, seen map[reflect.Type]bool) string {
	if seen[t] || bothWays(t, jsonMarshaler, jsonUnmarshaler) || bothWays(t, textMarshaler, textUnmarshaler) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return stateFault(t.Elem(), place, seen)
	case reflect.Map:
		switch key := t.Key(); {
		case bothWays(key, textMarshaler, textUnmarshaler), key.Kind() == reflect.String, reflect.Int <= key.Kind() && key.Kind() <= reflect.Uint64:
			return stateFault(t.Elem(), place, seen)
		default:
			return fmt.Sprintf("%s has a map whose keys are of type %s", place, key)
		}
	case reflect.Struct:
		for field := range t.Fields() {
			if fault := fieldFault(field, place, seen); fault != "" {
				return fault
			}
		}
		return ""
	case reflect.Interface:
		return fmt.Sprintf("%s is an interface, and JSON does not say what was in it", place)
	case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Sprintf("%s is a %s", place, t.Kind())
	}
	return ""
}

// fieldFault is stateFault for a field of a struct.
func fieldFault(field reflect.StructField, place string, seen map[reflect.Type]bool) string {
	name := place + "." + field.Name
	switch {
	case field.Tag.Get("json") == "-":
		return name + ` has the tag json:"-"`
	case field.Anonymous && field.Type.Kind() == reflect.Struct: // its exported fields are written, whatever it is called
	case !field.IsExported():
		return name + " is not exported"
	}
	return stateFault(field.Type, name, seen)
}
