package events_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// What the shop writes now.
type OrderPlaced struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
	Currency string `json:"currency"`
}

// What it wrote until amounts had a currency, and what it wrote before it counted cents.
type (
	OrderPlacedV2 struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	OrderPlacedV1 struct {
		Name  string `json:"name"`
		Euros int64  `json:"euros"`
	}
)

var shop = &events.Registry{} // most programs need none of their own

var Placed = events.Register[OrderPlaced]("OrderPlaced", 3, events.In(shop),
	events.Upcast(func(v1 OrderPlacedV1) OrderPlacedV2 { return OrderPlacedV2{Customer: v1.Name, Cents: 100 * v1.Euros} }),
	events.Upcast(func(v2 OrderPlacedV2) OrderPlaced {
		return OrderPlaced{Customer: v2.Customer, Cents: v2.Cents, Currency: "EUR"}
	}))

// A type is registered once, with the version that is written now and an upcaster for each step to it.
func ExampleRegister() {
	written, err := shop.New(OrderPlaced{Customer: "ann", Cents: 1250, Currency: "EUR"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(written.Type, written.Version, string(written.Payload))

	stored := eventstore.Event{Type: "OrderPlaced", Version: 1, Payload: json.RawMessage(`{"name": "bob", "euros": 7}`)}
	order, err := Placed.Decode(stored)
	fmt.Printf("%+v %v\n", order, err)
	// Output:
	// OrderPlaced 3 {"customer":"ann","cents":1250,"currency":"EUR"}
	// {Customer:bob Cents:700 Currency:EUR} <nil>
}

// A version that has more fields than the one before, and a value for them where they are missing, needs no type for the older one.
func ExampleUpcast() {
	type OrderPaid struct {
		Cents int64  `json:"cents"`
		Means string `json:"means"`
	}
	vocabulary := &events.Registry{}
	events.Register[OrderPaid]("OrderPaid", 2, events.In(vocabulary),
		events.Upcast(func(e OrderPaid) OrderPaid { e.Means = "cash"; return e }))
	value, err := vocabulary.Decode(eventstore.Event{Type: "OrderPaid", Version: 1, Payload: json.RawMessage(`{"cents": 5}`)})
	fmt.Printf("%+v %v\n", value, err)
	// Output: {Cents:5 Means:cash} <nil>
}

// A step may need what the payload does not have.
func ExampleUpcastEvent() {
	type OrderShipped struct{ Order, Carrier string }
	vocabulary := &events.Registry{}
	events.Register[OrderShipped]("OrderShipped", 2, events.In(vocabulary),
		events.UpcastEvent(func(e OrderShipped, ev eventstore.Event) OrderShipped { e.Order = ev.AggregateID; return e }))
	value, err := vocabulary.Decode(eventstore.Event{AggregateID: "42", Type: "OrderShipped", Version: 1, Payload: json.RawMessage(`{"Carrier": "post"}`)})
	fmt.Printf("%+v %v\n", value, err)
	// Output: {Order:42 Carrier:post} <nil>
}

// A type that got another name is still read under the one that it had.
func ExampleFormerly() {
	type CustomerMoved struct{ To string }
	vocabulary := &events.Registry{}
	moved := events.Register[CustomerMoved]("CustomerMoved", 1, events.In(vocabulary), events.Formerly("AddressChanged"))
	e, err := moved.Decode(eventstore.Event{Type: "AddressChanged", Version: 1, Payload: json.RawMessage(`{"To": "Bern"}`)})
	fmt.Println(e.To, moved.Name(), err)
	// Output: Bern CustomerMoved <nil>
}

// A program without a projection of functions may switch over the values.
func ExampleRegistry_Decode() {
	for _, ev := range []eventstore.Event{
		{Type: "OrderPlaced", Version: 3, Payload: json.RawMessage(`{"customer": "ann", "cents": 1250, "currency": "CHF"}`)},
		{Type: "OrderPlaced", Version: 4, Payload: json.RawMessage(`{}`)},
		{Type: "OrderBlessed", Version: 1, Payload: json.RawMessage(`{}`)},
	} {
		value, err := shop.Decode(ev)
		switch e := value.(type) {
		case OrderPlaced:
			fmt.Println(e.Customer, "orders for", e.Cents, e.Currency)
		default:
			fmt.Println(errors.Is(err, events.ErrNewer), errors.Is(err, events.ErrUnknown))
		}
	}
	// Output:
	// ann orders for 1250 CHF
	// true false
	// false true
}

type (
	CartOpened struct{}
	CartFilled struct{ Article string }
)

func init() {
	events.Register[CartOpened]("CartOpened", 1)
	events.Register[CartFilled]("CartFilled", 1)
}

// Values of several types become events to be appended, in their order: eventstore.Append(ctx, tx, stream, eventstore.Any(), all...).
func ExampleEncode() {
	all, err := events.Encode(CartOpened{}, CartFilled{"tea"})
	fmt.Println(len(all), all[0].Type, string(all[1].Payload), err)
	// Output: 2 CartOpened {"Article":"tea"} <nil>
}
