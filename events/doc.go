// Package events says which Go types the events of a program are, so that nobody writes by hand how they are named, encoded, decoded and
// brought to their current version.
//
// Each event type is registered once, when the program starts:
//
//	type OrderPlaced struct {
//		Customer string `json:"customer"`
//		Cents    int64  `json:"cents"`
//	}
//
//	var Placed = events.Register[OrderPlaced]("OrderPlaced", 1)
//
// From then on values are appended and read as they are:
//
//	placed, err := events.New(OrderPlaced{Customer: "ann", Cents: 1250}) // an eventstore.NewEvent
//	value, err := events.Decode(ev)                                      // any: an OrderPlaced
//	order, err := events.As[OrderPlaced](ev)
//
// Package projection makes projections of functions that take such values (projection.New, On, Queue).
//
// # Versions
//
// The payload of an event is never changed, so what the program writes today has to be told from what it wrote a year ago:
// by the version of the payload, which rises with each change that old readers would not understand. An upcaster leads
// from each version to the next, and handlers see the newest only:
//
//	var Placed = events.Register[OrderPlaced]("OrderPlaced", 3,
//		events.Upcast(func(v1 OrderPlacedV1) OrderPlacedV2 { return OrderPlacedV2{Customer: v1.Name, Euros: v1.Euros} }),
//		events.Upcast(func(v2 OrderPlacedV2) OrderPlaced { return OrderPlaced{Customer: v2.Customer, Cents: 100 * v2.Euros} }))
//
// A field that is added, and may be missing, needs no new version; one that is renamed, removed, or means something else does. A program
// that meets a higher version than its own gets ErrNewer: deploy what reads a version before what writes it.
//
// # Found when the program starts
//
// Register panics where something cannot be right: two types of one name, a chain of upcasters with a hole, a pointer where a value is meant.
// A sentence says what to do.
//
// # Costs
//
// A Type knows its Go type, so that decoding allocates what json.Unmarshal allocates. Reflection finds the types when they are
// registered; afterwards New and Decode are one look-up in a map each.
package events
