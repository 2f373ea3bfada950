package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/rouse-es/rouse/events"
)

// FuzzDecode: whatever is stored, it is read as a value of the registered type or refused with a reason that says nothing of the payload; what
// is read can be appended again, and is then read as the same.
func FuzzDecode(f *testing.F) {
	r, in := registry()
	events.Register[placed]("OrderPlaced", 3, in, events.Upcast(upV1), events.Upcast(upV2))
	for version, payload := range []string{`null`, `{"Name": "ann", "Euros": "12"}`, `{"Customer": "ann", "Euros": 12}`, `{"customer": "ann", "cents": 1200, "lines": ["a"]}`, `{"cents": 1e99}`, `[`} {
		f.Add("OrderPlaced", version, []byte(payload))
	}
	f.Add("Other", 1, []byte(`{}`))
	f.Fuzz(func(t *testing.T, eventType string, version int, payload []byte) {
		ev := event(eventType, version, string(payload))
		value, err := r.Decode(ev)
		var why *events.DecodeError
		switch {
		case err != nil && !errors.As(err, &why):
			t.Fatalf("an error of another kind: %v", err)
		case err != nil:
			if !utf8.ValidString(err.Error()) && utf8.ValidString(eventType) {
				t.Fatalf("the text of the error is not UTF-8: %q", err)
			}
			return
		}
		got, is := value.(placed)
		if !is || eventType != "OrderPlaced" || version > 3 {
			t.Fatalf("%s of version %d was read as %T", eventType, version, value)
		}
		ne, err := r.New(got)
		if err != nil || !json.Valid(ne.Payload) {
			t.Fatalf("what was read cannot be written: %v %s", err, ne.Payload)
		}
		again, err := r.Decode(stored(ne))
		if err != nil || !reflect.DeepEqual(again, value) && len(got.Lines) > 0 {
			t.Fatalf("%#v came back as %#v: %v", value, again, err)
		}
	})
}
