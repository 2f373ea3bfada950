package aggregate_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// SeatsOffered and SeatTaken happen to a show.
type (
	SeatsOffered struct{ Seats int }
	SeatTaken    struct{ By string }
)

var (
	_ = events.Register[SeatsOffered]("SeatsOffered", 1)
	_ = events.Register[SeatTaken]("SeatTaken", 1)

	errSoldOut = errors.New("the show is sold out")
)

// show is what decisions are made from: how many seats are free.
type show struct{ Free int }

// after returns the show after an event.
func (s show) after(event any) show {
	switch e := event.(type) {
	case SeatsOffered:
		s.Free += e.Seats
	case SeatTaken:
		s.Free--
	}
	return s
}

// What is decided is appended if nothing else was appended meanwhile, and is decided anew otherwise. So of two who want the last
// seat at the same moment one is refused.
func ExampleExecute() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	hamlet := eventstore.Stream{Type: "show", ID: "hamlet"}

	offered, err := aggregate.Execute(ctx, db.Pool, hamlet, show.after, func(show) ([]any, error) {
		return []any{SeatsOffered{Seats: 1}}, nil
	})
	fmt.Println("version", offered.LastVersion, err)
	for _, who := range []string{"alice", "bob"} {
		taken, err := aggregate.Execute(ctx, db.Pool, hamlet, show.after, func(s show) ([]any, error) {
			if s.Free == 0 {
				return nil, errSoldOut
			}
			return []any{SeatTaken{By: who}}, nil
		}, aggregate.Snapshot("show", 1)) // worth it where streams are long
		fmt.Println(who, "version", taken.LastVersion, err)
	}
	state, version, err := aggregate.Load(ctx, db.Pool, hamlet, show.after)
	fmt.Println(state.Free, "free at version", version, err)
	// Output:
	// version 1 <nil>
	// alice version 2 <nil>
	// bob version 0 the show is sold out
	// 0 free at version 2 <nil>
}
