package events_test

import (
	"fmt"
	"strconv"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// RoomBooked is what it is now: rooms have names.
type RoomBooked struct {
	Room   string
	Nights int
}

// roomBookedV1 is what is in the log from before, when they had numbers.
type roomBookedV1 struct{ Room, Nights int }

// RoomLeft never had another form.
type RoomLeft struct{}

var (
	_ = events.Register[RoomBooked]("RoomBooked", 2, events.Upcast(func(old roomBookedV1) RoomBooked {
		return RoomBooked{Room: strconv.Itoa(old.Room), Nights: old.Nights}
	}))
	_ = events.Register[RoomLeft]("RoomLeft", 1)
)

// What is appended is made of a registered value, and whoever reads gets the current form, whatever is in the log.
func ExampleNew() {
	booked, err := events.New(RoomBooked{Room: "Blue", Nights: 4}) // what eventstore.Append takes; Encode makes several
	if err != nil {
		panic(err)
	}
	left, err := events.Encode(RoomLeft{})
	if err != nil {
		panic(err)
	}
	old := eventstore.NewEvent{Type: "RoomBooked", Version: 1, Payload: []byte(`{"Room": 12, "Nights": 3}`)}

	for _, ev := range rousetest.Stream("stay", "1").Add(old, booked, left[0]).Events() { // what eventstore.ReadStream returns
		e, err := events.Decode(ev)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s in version %d: %+v\n", ev.Type, ev.Version, e)
		if booked, err := events.As[RoomBooked](ev); err == nil {
			fmt.Println("room", booked.Room)
		}
	}
	// Output:
	// RoomBooked in version 1: {Room:12 Nights:3}
	// room 12
	// RoomBooked in version 2: {Room:Blue Nights:4}
	// room Blue
	// RoomLeft in version 1: {}
}
