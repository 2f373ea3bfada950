package rouse_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// welcome sends a mail to whoever has registered.
type welcome struct {
	send func(ctx context.Context, idempotencyKey, to string) error
}

func (welcome) Name() string         { return "welcome" }
func (welcome) EventTypes() []string { return []string{"Registered"} }

// StartFrom leaves out those who are there when the effect is deployed: they had their mail.
func (welcome) StartFrom() rouse.Start { return rouse.Now }

// RetryPolicy gives the mail server half a day. After that the event waits for people (rouse parked list).
func (welcome) RetryPolicy() rouse.RetryPolicy {
	return rouse.RetryPolicy{Tries: 20, Pause: rouse.Doubling(time.Second, time.Hour)}
}

// Do may be called again for an event after a crash, so the mail server gets the event's id as idempotency key.
func (w welcome) Do(ctx context.Context, ev eventstore.Event) error {
	return w.send(ctx, ev.ID.String(), ev.AggregateID)
}

// Work outside of the database, at least once for each event.
func ExampleEffect() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	mails := welcome{send: func(_ context.Context, _, to string) error {
		fmt.Println("mail to", to)
		return nil
	}}
	for _, user := range []string{"alice", "bob"} { // bob registers when the effect is there
		err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "user", ID: user}, eventstore.NoStream(),
				eventstore.NewEvent{Type: "Registered", Payload: []byte(`{}`)})
			return err
		})
		if err != nil {
			panic(err)
		}
		worker, err := rouse.New(db.Pool, rouse.Config{Effects: []rouse.Effect{mails}})
		if err != nil {
			panic(err)
		}
		if err := worker.Drain(ctx); err != nil {
			panic(err)
		}
	}
	// Output: mail to bob
}
