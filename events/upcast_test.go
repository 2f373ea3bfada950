package events_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

func upV1(v1 placedV1) placedV2 {
	euros, _ := strconv.ParseInt(v1.Euros, 10, 64)
	return placedV2{Customer: v1.Name, Euros: euros}
}

func upV2(v2 placedV2) placed { return placed{Customer: v2.Customer, Cents: 100 * v2.Euros} }

func TestEveryVersionIsReadAsTheCurrentOne(t *testing.T) {
	t.Parallel()
	r, in := registry()
	kind := events.Register[placed]("OrderPlaced", 3, in, events.Upcast(upV1), events.Upcast(upV2))
	for version, payload := range map[int]string{
		0: `{"Name": "ann", "Euros": "12"}`, // a version that is not given is the first
		1: `{"Name": "ann", "Euros": "12"}`,
		2: `{"Customer": "ann", "Euros": 12}`,
		3: `{"customer": "ann", "cents": 1200}`,
	} {
		value, err := r.Decode(event("OrderPlaced", version, payload))
		require.NoError(t, err)
		assert.Equal(t, placed{Customer: "ann", Cents: 1200}, value, "version %d", version)
		typed, err := kind.Decode(event("OrderPlaced", version, payload))
		require.NoError(t, err)
		assert.Equal(t, value, typed)
	}
	ne, err := kind.New(placed{})
	require.NoError(t, err)
	assert.Equal(t, 3, ne.Version)
}

func TestAVersionOutsideOfThoseThatAreKnownIsRefused(t *testing.T) {
	t.Parallel()
	r, in := registry()
	kind := events.Register[placed]("OrderPlaced", 3, in, events.Since(2), events.Upcast(upV2))
	_, err := r.Decode(event("OrderPlaced", 4, `{}`))
	require.ErrorIs(t, err, events.ErrNewer)
	assert.ErrorContains(t, err, "OrderPlaced has version 4, and 3 is registered")
	_, err = kind.Decode(event("OrderPlaced", 1, `{}`))
	require.ErrorIs(t, err, events.ErrOlder)
	_, err = kind.Decode(event("OrderPlaced", 2, `{}`))
	require.NoError(t, err)
	_, err = kind.Decode(event("OrderPlaced", 2, `{"Euros": "x"}`))
	require.ErrorIs(t, err, events.ErrPayload)
}

func TestAnUpcasterMaySeeTheEvent(t *testing.T) {
	t.Parallel()
	type dated struct{ At time.Time }
	r, in := registry()
	events.Register[dated]("Dated", 2, in, events.UpcastEvent(func(_ paid, ev eventstore.Event) dated { return dated{ev.CreatedAt} }))
	ev := event("Dated", 1, `{}`)
	ev.CreatedAt = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	value, err := r.Decode(ev)
	require.NoError(t, err)
	assert.Equal(t, dated{ev.CreatedAt}, value)
}

func TestAFormerNameIsRead(t *testing.T) {
	t.Parallel()
	r, in := registry()
	kind := events.Register[paid]("OrderPaid", 1, in, events.Formerly("Paid", "PaymentDone"))
	for _, name := range kind.Names() {
		value, err := r.Decode(event(name, 1, `{"cents": 5}`))
		require.NoError(t, err)
		assert.Equal(t, paid{5}, value)
		typed, err := events.AsOf[paid](r, event(name, 1, `{"cents": 5}`))
		require.NoError(t, err)
		assert.Equal(t, paid{5}, typed)
	}
	ne, err := r.New(paid{})
	require.NoError(t, err)
	assert.Equal(t, "OrderPaid", ne.Type)
	assert.Len(t, kind.Names(), 3)
}

// The types of a chain of any length; each version counts the steps that it has come through, and keeps what it began with.
type link struct {
	Text  string
	N     int64
	Trail []int
}

// A chain leads from every version through the steps behind it, each once and in order, and through no other.
func TestUpcastersAreChainedInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		since := rapid.IntRange(1, 5).Draw(t, "since")
		version := since + rapid.IntRange(0, 8).Draw(t, "steps")
		r := &events.Registry{}
		options := []events.Option{events.In(r), events.Since(since)}
		for v := since; v < version; v++ {
			options = append(options, events.Upcast(func(l link) link {
				l.Trail = append(l.Trail, v)
				return l
			}))
		}
		kind := events.Register[link]("Linked", version, options...)
		began := link{Text: rapid.String().Draw(t, "text"), N: rapid.Int64().Draw(t, "n")}
		at := rapid.IntRange(since, version).Draw(t, "version")
		payload, err := json.Marshal(began)
		if err != nil {
			t.Fatal(err)
		}
		want := link{N: began.N}
		if err := json.Unmarshal(payload, &want); err != nil { // of a text that is no UTF-8
			t.Fatal(err)
		}
		for v := at; v < version; v++ {
			want.Trail = append(want.Trail, v)
		}
		got, err := kind.Decode(event("Linked", at, string(payload)))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("version %d of %d to %d: got %v, %v, want %v", at, since, version, got, err, want)
		}
		value, err := r.Decode(event("Linked", at, string(payload)))
		if err != nil || fmt.Sprint(value) != fmt.Sprint(want) {
			t.Fatalf("by the registry: got %v, %v, want %v", value, err, want)
		}
	})
}

// What any version wrote is read as the program of that time, brought up by hand, would have it.
func TestAChainOfTypesIsWhatOneWouldWriteByHand(t *testing.T) {
	t.Parallel()
	r, in := registry()
	events.Register[placed]("OrderPlaced", 3, in, events.Upcast(upV1), events.Upcast(upV2))
	rapid.Check(t, func(t *rapid.T) {
		v1 := placedV1{Name: rapid.StringMatching(`[a-zä]{0,9}`).Draw(t, "name"), Euros: strconv.Itoa(rapid.IntRange(-9, 9999).Draw(t, "euros"))}
		v2 := upV1(v1)
		want := upV2(v2)
		for version, written := range []any{v1, v2, want} {
			payload, err := json.Marshal(written)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Decode(event("OrderPlaced", version+1, string(payload)))
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("version %d: got %v, %v, want %v", version+1, got, err, want)
			}
		}
	})
}
