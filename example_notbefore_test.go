package rouse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// reminders reminds of what was planned, when its time has come. A plan is an aggregate of its own, because later events of an
// aggregate wait behind the one that waits for its time.
type reminders struct{}

func (reminders) Name() string         { return "reminders" }
func (reminders) EventTypes() []string { return []string{"ReminderPlanned"} }

func (reminders) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var plan struct{ Due time.Time }
	if err := json.Unmarshal(ev.Payload, &plan); err != nil {
		return err
	}
	if time.Now().Before(plan.Due) {
		return rouse.NotBefore(plan.Due)
	}
	_, err := tx.Exec(ctx, "insert into reminders values ($1)", ev.AggregateID)
	return err
}

// An event that is handled when its time has come waits in the database, through restarts, and counts as no failure.
func ExampleNotBefore() {
	ctx := context.Background()
	db, err := rousetest.Open(rousetest.Config{SQL: "create table reminders (of text primary key)"})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	due := time.Now().Add(14 * 24 * time.Hour).UTC()
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "reminder", ID: "invoice 7"}, eventstore.NoStream(),
			eventstore.NewEvent{Type: "ReminderPlanned", Payload: fmt.Appendf(nil, `{"Due": %q}`, due.Format(time.RFC3339Nano))})
		return err
	})
	if err != nil {
		panic(err)
	}
	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{reminders{}}})
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil { // what waits for its time is not waited for
		panic(err)
	}
	var reminded int
	if err := db.Pool.QueryRow(ctx, "select count(*) from reminders").Scan(&reminded); err != nil {
		panic(err)
	}
	fmt.Println("reminded:", reminded)

	// NotBeforeTime tells a test of the handler alone what it has answered.
	answer := rouse.NotBefore(due)
	at, waits := rouse.NotBeforeTime(answer)
	fmt.Println(waits, at.Equal(due))
	// Output:
	// reminded: 0
	// true true
}
