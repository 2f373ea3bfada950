package rouse_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// visits counts how often each page was seen. It sends its statements itself, so it can read and decide.
type visits struct{}

func (visits) Name() string { return "visits" }

func (visits) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, `insert into visits as v values ($1, 1) on conflict (page) do update set times = v.times + 1`, ev.AggregateID)
	return err
}

// A worker that goes on until its context ends. Whoever appends wakes it; whoever wants to see what was appended waits for it.
func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background()) // in a program: signal.NotifyContext
	defer stop()
	db, err := rousetest.Open(rousetest.Config{SQL: `create table visits (page text primary key, times int not null)`})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{visits{}}})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	<-worker.Started()

	var appended eventstore.Appended
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) (err error) {
		appended, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "page", ID: "home"}, eventstore.Any(),
			eventstore.NewEvent{Type: "Seen", Payload: []byte(`{}`)}, eventstore.NewEvent{Type: "Seen", Payload: []byte(`{}`)})
		return err
	})
	if err != nil {
		panic(err)
	}
	if err := rouse.WaitFor(ctx, db.Pool, "visits", appended); err != nil {
		panic(err)
	}
	var times int
	if err := db.Pool.QueryRow(ctx, `select times from visits where page = 'home'`).Scan(&times); err != nil {
		panic(err)
	}
	fmt.Println("home was seen", times, "times")

	stop()
	fmt.Println(<-ended)
	// Output:
	// home was seen 2 times
	// <nil>
}
