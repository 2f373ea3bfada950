package aggregate_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// The events of a seat in a theatre, and its state.
type (
	SeatBooked   struct{ By string }
	SeatReleased struct{}

	Seat struct{ Taken bool }
)

var (
	_ = events.Register[SeatBooked]("SeatBooked", 1)
	_ = events.Register[SeatReleased]("SeatReleased", 1)

	errTaken = errors.New("the seat is taken")
)

// after returns the seat after an event.
func (s Seat) after(event any) Seat {
	switch event.(type) {
	case SeatBooked:
		s.Taken = true
	case SeatReleased:
		s.Taken = false
	}
	return s
}

// Of two who book a seat at the same moment one is refused: the other's event is in what the second decides on.
func ExampleExecute() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://localhost/theatre")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	appended, err := aggregate.Execute(ctx, pool, eventstore.Stream{Type: "seat", ID: "row 3, 14"}, Seat.after,
		func(s Seat) ([]any, error) {
			if s.Taken {
				return nil, errTaken
			}
			return []any{SeatBooked{By: "ann"}}, nil
		},
		aggregate.Snapshot("seat", 1)) // worth it where streams are long
	fmt.Println(appended.LastVersion, err)
}
