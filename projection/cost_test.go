package projection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
)

// An event of an order as a shop has them.
type (
	boughtV1 struct {
		Customer string `json:"customer"`
		Euros    string `json:"euros"`
		Lines    []line `json:"lines"`
	}
	bought struct {
		Customer string    `json:"customer"`
		Cents    int64     `json:"cents"`
		At       time.Time `json:"at"`
		Lines    []line    `json:"lines"`
	}
	line struct {
		Article string `json:"article"`
		Count   int    `json:"count"`
	}
	shipped struct {
		Carrier string `json:"carrier"`
	}
)

func upBought(v1 boughtV1) bought {
	euros, _ := strconv.ParseInt(v1.Euros, 10, 64)
	return bought{Customer: v1.Customer, Cents: 100 * euros, Lines: v1.Lines}
}

// sum is what the handlers compute, so that nothing of it is left out by the compiler.
type sum struct{ cents, lines int64 }

func (s *sum) bought(e *bought)   { s.cents += e.Cents; s.lines += int64(len(e.Lines)) }
func (s *sum) shipped(e *shipped) { s.lines += int64(len(e.Carrier)) }

// byHand is the projection as one writes it: a switch, and encoding/json.
type byHand struct{ s *sum }

func (byHand) Name() string { return "hand" }

func (p byHand) Apply(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
	switch ev.Type {
	case "Bought":
		var e bought
		switch ev.Version {
		case 1:
			var v1 boughtV1
			if err := json.Unmarshal(ev.Payload, &v1); err != nil {
				return rouse.Permanent(err)
			}
			e = upBought(v1)
		case 2:
			if err := json.Unmarshal(ev.Payload, &e); err != nil {
				return rouse.Permanent(err)
			}
		default:
			return fmt.Errorf("version %d", ev.Version)
		}
		p.s.bought(&e)
	case "Shipped":
		var e shipped
		if err := json.Unmarshal(ev.Payload, &e); err != nil {
			return rouse.Permanent(err)
		}
		p.s.shipped(&e)
	}
	return nil
}

// typed is the same of functions.
func typed(s *sum) rouse.Projection {
	r := &events.Registry{}
	events.Register[bought]("Bought", 2, events.In(r), events.Upcast(upBought))
	events.Register[shipped]("Shipped", 1, events.In(r))
	return projection.New("typed", projection.Events(r),
		projection.On(func(_ context.Context, _ pgx.Tx, e bought, _ eventstore.Event) error { s.bought(&e); return nil }),
		projection.On(func(_ context.Context, _ pgx.Tx, e shipped, _ eventstore.Event) error { s.shipped(&e); return nil }))
}

// costly are the events to compare by.
var costly = map[string]eventstore.Event{
	"now":   {Type: "Bought", Version: 2, Payload: []byte(`{"customer":"ann","cents":1250,"at":"2026-01-02T03:04:05Z","lines":[{"article":"tea","count":2},{"article":"cup","count":1}]}`)},
	"older": {Type: "Bought", Version: 1, Payload: []byte(`{"customer":"ann","euros":"12","lines":[{"article":"tea","count":2},{"article":"cup","count":1}]}`)},
	"small": {Type: "Shipped", Version: 1, Payload: []byte(`{"carrier":"post"}`)},
	"other": {Type: "Noted", Version: 1, Payload: []byte(`{}`)},
}

// The count of allocations depends on nothing but the code, so it can be asserted where times cannot.
func TestTypedHandlersAllocateLikeASwitchByHand(t *testing.T) {
	for name, ev := range costly {
		var hand, functions sum
		apply := func(p rouse.Projection) float64 {
			return testing.AllocsPerRun(200, func() {
				if err := p.Apply(t.Context(), nil, ev); err != nil {
					t.Fatal(err)
				}
			})
		}
		byHand, typed := apply(byHand{&hand}), apply(typed(&functions))
		t.Logf("%s: %v allocations by hand, %v typed", name, byHand, typed)
		assert.LessOrEqual(t, typed, 1.3*byHand, name)
		assert.Equal(t, hand, functions, name)
	}
}

// BenchmarkApply compares the two: go test ./projection -run xxx -bench Apply -benchmem
func BenchmarkApply(b *testing.B) {
	for _, name := range []string{"now", "older", "small", "other"} {
		ev := costly[name]
		var s sum
		for form, p := range map[string]rouse.Projection{"hand": byHand{&s}, "typed": typed(&s)} {
			b.Run(name+"/"+form, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Apply(context.Background(), nil, ev); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The two do the same with events that cannot be read.
func TestTypedHandlersFailLikeASwitchByHand(t *testing.T) {
	t.Parallel()
	var s sum
	for _, ev := range []eventstore.Event{
		{Type: "Bought", Version: 2, Payload: []byte(`{"cents": "x"}`)},
		{Type: "Bought", Version: 3, Payload: []byte(`{}`)},
		{Type: "Shipped", Version: 1, Payload: []byte(`[]`)},
	} {
		require.Error(t, byHand{&s}.Apply(t.Context(), nil, ev))
		err := typed(&s).Apply(t.Context(), nil, ev)
		var decode *events.DecodeError
		require.True(t, errors.As(err, &decode), "%v", err)
		assert.Equal(t, ev.Type, decode.Type)
	}
}
