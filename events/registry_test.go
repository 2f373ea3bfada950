package events_test

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

func TestAValueComesBackAsItWasAppended(t *testing.T) {
	t.Parallel()
	r, in := registry()
	kind := events.Register[placed]("OrderPlaced", 1, in)
	want := placed{Customer: "ann", Cents: 1250, Lines: []string{"tea"}}
	ne, err := r.New(want)
	require.NoError(t, err)
	assert.Equal(t, "OrderPlaced", ne.Type)
	assert.Equal(t, 1, ne.Version)
	assert.JSONEq(t, `{"customer":"ann","cents":1250,"lines":["tea"]}`, string(ne.Payload))

	value, err := r.Decode(stored(ne))
	require.NoError(t, err)
	assert.Equal(t, want, value)
	typed, err := events.AsOf[placed](r, stored(ne))
	require.NoError(t, err)
	assert.Equal(t, want, typed)
	typed, err = kind.Decode(stored(ne))
	require.NoError(t, err)
	assert.Equal(t, want, typed)
	again, err := kind.New(want)
	require.NoError(t, err)
	assert.Equal(t, ne, again)
}

type noted struct{ Text string }

var _ = events.Register[noted]("TestNoted", 1)

func TestTheRegistryOfAllIsTheDefault(t *testing.T) {
	t.Parallel()
	ne, err := events.New(noted{"x"})
	require.NoError(t, err)
	value, err := events.Decode(stored(ne))
	require.NoError(t, err)
	assert.Equal(t, noted{"x"}, value)
	typed, err := events.As[noted](stored(ne))
	require.NoError(t, err)
	assert.Equal(t, noted{"x"}, typed)
	assert.True(t, events.Default.Knows("TestNoted"))

	other, in := registry()
	assert.False(t, other.Knows("TestNoted"), "registries do not share what they know")
	events.Register[noted]("TestNoted", 1, in)
	assert.True(t, other.Knows("TestNoted"))
}

func TestNewTakesAnIDAndMetadata(t *testing.T) {
	t.Parallel()
	r, in := registry()
	events.Register[paid]("OrderPaid", 1, in)
	id := eventstore.NewID()
	ne, err := r.New(paid{7}, events.WithID(id), events.WithMetadata(map[string]string{"user": "ann"}))
	require.NoError(t, err)
	assert.Equal(t, id, ne.ID)
	assert.JSONEq(t, `{"user":"ann"}`, string(ne.Metadata))
	_, err = r.New(paid{7}, events.WithMetadata(math.NaN()))
	require.ErrorIs(t, err, events.ErrPayload)
}

func TestEncodeKeepsTheOrderAndWhatIsAnEventAlready(t *testing.T) {
	t.Parallel()
	r, in := registry()
	events.Register[placed]("OrderPlaced", 1, in)
	events.Register[paid]("OrderPaid", 2, in, events.Since(2))
	ready := eventstore.NewEvent{Type: "Other", Payload: []byte(`{}`)}
	all, err := r.Encode(placed{}, ready, paid{})
	require.NoError(t, err)
	require.Len(t, all, 3)
	assert.Equal(t, []string{"OrderPlaced", "Other", "OrderPaid"}, []string{all[0].Type, all[1].Type, all[2].Type})
	assert.Equal(t, 2, all[2].Version)
	_, err = r.Encode(placed{}, time.Now())
	require.ErrorIs(t, err, events.ErrUnknown)
}

func TestWhatIsNotRegisteredIsNamed(t *testing.T) {
	t.Parallel()
	r, in := registry()
	events.Register[paid]("OrderPaid", 1, in)
	for _, c := range []struct {
		value any
		says  string
	}{{nil, "nil is no event"}, {placed{}, "events_test.placed"}, {&paid{}, "give the value"}} {
		_, err := r.New(c.value)
		require.ErrorIs(t, err, events.ErrUnknown)
		assert.ErrorContains(t, err, c.says)
	}
	_, err := r.Decode(event("OrderLost", 1, `{}`))
	require.ErrorIs(t, err, events.ErrUnknown)
	assert.ErrorContains(t, err, "OrderLost")
	_, err = events.AsOf[placed](r, event("OrderPlaced", 1, `{}`))
	require.ErrorIs(t, err, events.ErrUnknown)
	_, err = events.AsOf[paid](r, event("OrderLost", 1, `{}`))
	require.ErrorIs(t, err, events.ErrMismatch)
	_, err = events.TypeOf[placed](r)
	require.ErrorIs(t, err, events.ErrUnknown)
}

func TestAValueThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	type measured struct{ Value float64 }
	r, in := registry()
	events.Register[measured]("Measured", 1, in)
	_, err := r.New(measured{math.Inf(1)})
	require.ErrorIs(t, err, events.ErrPayload)
}

// The texts of errors go to logs and to the table of parked events.
func TestErrorsHoldNothingOfThePayload(t *testing.T) {
	t.Parallel()
	type all struct {
		N    int8      `json:"n"`
		At   time.Time `json:"at"`
		Text string    `json:"text"`
		Q    int       `json:"q,string"`
	}
	r, in := registry()
	events.Register[all]("All", 1, in)
	for _, payload := range []string{
		`{"n": 4711}`, `{"at": "4711"}`, `{"text": 4711}`, `{"q": "4711x"}`, `{"n": 1, 4711}`, `4711`, ``, `{"text": "4711`,
	} {
		_, err := r.Decode(event("All", 1, payload))
		require.ErrorIs(t, err, events.ErrPayload, payload)
		assert.NotContains(t, err.Error(), "4711", payload)
		assert.Contains(t, err.Error(), "version 1 of All as events_test.all")
		var decode *events.DecodeError
		require.ErrorAs(t, err, &decode)
		assert.Equal(t, "All", decode.Type)
		assert.Error(t, decode.Cause)
	}
	_, err := r.Decode(event("All", 1, `{"n": 4711}`))
	assert.ErrorContains(t, err, "n is a number at byte")
}

func TestMisuseIsFoundWhenTheProgramStarts(t *testing.T) {
	t.Parallel()
	type other struct{}
	r, in := registry()
	events.Register[paid]("OrderPaid", 1, in, events.Formerly("Paid"))
	for says, register := range map[string]func(){
		"registered twice, as events_test.paid and as events_test.other":         func() { events.Register[other]("OrderPaid", 1, in) },
		"the event type Paid is registered twice":                                func() { events.Register[other]("Other", 1, in, events.Formerly("Paid")) },
		"events_test.paid is registered as OrderPaid already":                    func() { events.Register[paid]("OrderPaid2", 1, in) },
		"must be text that is not empty":                                         func() { events.Register[other]("", 1, in) },
		`the name "\xff"`:                                                        func() { events.Register[other]("\xff", 1, in) },
		"version 0 is not from 1":                                                func() { events.Register[other]("Other", 0, in) },
		"register events_test.other, not a pointer":                              func() { events.Register[*other]("Other", 1, in) },
		"an interface is no type of an event":                                    func() { events.Register[fmt.Stringer]("Other", 1, in) },
		"it cannot be written as data":                                           func() { events.Register[func()]("Other", 1, in) },
		"a pointer must be one to a struct":                                      func() { events.Register[*int]("Other", 1, in, events.With(shouting{})) },
		"events.In has no registry":                                              func() { events.Register[other]("Other", 1, events.In(nil)) },
		"from version 1 to 3 there are 2 steps, and it has 1 upcasters":          func() { events.Register[other]("Other", 3, in, upcastTo[other]()) },
		"from version 1 to 2 there are 1 steps, and it has 0 upcasters":          func() { events.Register[other]("Other", 2, in) },
		"from version 1 to 1 there are 0 steps, and it has 1 upcasters":          func() { events.Register[other]("Other", 1, in, upcastTo[other]()) },
		"events.Since(3) is not from 1 to its version 2":                         func() { events.Register[other]("Other", 2, in, events.Since(3)) },
		"the upcaster from version 1 returns events_test.paid, and version 2 is": func() { events.Register[other]("Other", 2, in, upcastTo[paid]()) },
		"returns events_test.paid, and version 2 is events_test.placedV1":        func() { events.Register[other]("Other", 3, in, upcastTo[paid](), upcastTo[other]()) },
		"the upcaster from version 1 is nil":                                     func() { events.Register[other]("Other", 2, in, events.Upcast[paid, other](nil)) },
		"version 1 is *events_test.paid: register events_test.paid, not a pointer": func() {
			events.Register[other]("Other", 2, in, events.Upcast(func(*paid) (o other) { return o }))
		},
	} {
		value := panics(register)
		require.NotNil(t, value, says)
		assert.Contains(t, fmt.Sprint(value), says)
		assert.Contains(t, fmt.Sprint(value), "events: ")
	}
	assert.False(t, r.Knows("Other"), "what was refused is not known")
	assert.False(t, r.Knows("OrderPaid2"))
}

// upcastTo is an upcaster from placedV1.
func upcastTo[T any]() events.Option {
	return events.Upcast(func(placedV1) (to T) { return to })
}

func panics(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func TestARegistryMayBeReadWhileItGrows(t *testing.T) {
	t.Parallel()
	type a struct{}
	type b struct{}
	r, in := registry()
	events.Register[a]("A", 1, in)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				_, err := r.Decode(event("A", 1, `{}`))
				assert.NoError(t, err)
			}
		})
	}
	events.Register[b]("B", 1, in)
	all.Wait()
	assert.True(t, r.Knows("A") && r.Knows("B"))
}

// shouting is a codec that can be told from the default.
type shouting struct{}

func (shouting) Encode(any) ([]byte, error)      { return []byte(`"HERE"`), nil }
func (shouting) Decode(data []byte, v any) error { return errors.New("no voice") }

func TestACodecOfItsOwn(t *testing.T) {
	t.Parallel()
	r, in := registry()
	events.Register[paid]("OrderPaid", 1, in, events.With(shouting{}))
	ne, err := r.New(paid{})
	require.NoError(t, err)
	assert.Equal(t, `"HERE"`, string(ne.Payload))
	_, err = r.Decode(stored(ne))
	require.ErrorIs(t, err, events.ErrPayload)
	assert.ErrorContains(t, err, "no voice", "the text of a codec is its own matter")
}
