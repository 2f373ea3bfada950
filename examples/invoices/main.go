// Command invoices is a process manager: it plans a reminder for each invoice, and sends it at its time unless the invoice is paid by then.
// See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
)

// patience is how long an invoice may be open before its reminder. It is a fortnight elsewhere.
const patience = 2 * time.Second

func main() { app.Run(run) }

// dunning is the process manager: a projection that appends what follows from its events.
type dunning struct{}

// Name names the checkpoints of the projection.
func (dunning) Name() string { return "dunning" }

// EventTypes are the events that it gets: those of invoices, and its own.
func (dunning) EventTypes() []string {
	return []string{"InvoiceIssued", "InvoicePaid", "ReminderPlanned"}
}

// Apply reacts to one event. What it writes and what it appends commit with the checkpoint: all of it once, or nothing.
func (d dunning) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	switch ev.Type {
	case "InvoiceIssued":
		return d.plan(ctx, tx, ev)
	case "InvoicePaid":
		_, err := tx.Exec(ctx, "update dunning set paid = true where invoice = $1", ev.AggregateID)
		return err
	default:
		return d.remind(ctx, tx, ev)
	}
}

// planned is the payload of ReminderPlanned.
type planned struct {
	Due time.Time `json:"due"`
}

// plan remembers the invoice, and appends a deadline. That has a stream of its own, so that nothing of the invoice waits behind it.
func (dunning) plan(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, "insert into dunning (invoice) values ($1) on conflict do nothing", ev.AggregateID); err != nil {
		return err
	}
	payload, err := json.Marshal(planned{Due: ev.CreatedAt.Add(patience)})
	if err != nil {
		return err
	}
	_, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "reminder", ID: ev.AggregateID}, eventstore.NoStream(),
		eventstore.NewEvent{Type: "ReminderPlanned", Payload: payload})
	if errors.Is(err, eventstore.ErrConflict) { // planned before a reset of this projection
		return nil
	}
	return err
}

// remind appends the reminder at its time, unless the invoice is paid. It locks the row, because an InvoicePaid is of another aggregate,
// which another worker may handle at this moment.
func (dunning) remind(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var plan planned
	if err := json.Unmarshal(ev.Payload, &plan); err != nil {
		return rouse.Permanent(err)
	}
	if time.Now().Before(plan.Due) {
		return rouse.NotBefore(plan.Due)
	}
	var paid bool
	if err := tx.QueryRow(ctx, "select paid from dunning where invoice = $1 for update", ev.AggregateID).Scan(&paid); err != nil || paid {
		return err
	}
	_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "reminder", ID: ev.AggregateID}, eventstore.Exact(ev.AggregateVersion),
		eventstore.NewEvent{Type: "ReminderSent", Payload: json.RawMessage(`{}`)})
	if errors.Is(err, eventstore.ErrConflict) { // sent before a reset
		return nil
	}
	return err
}

// mails does what the reminder is for. It is an effect, so it happens at least once; the id of the event tells a mail server of a double.
type mails struct{}

// Name names the checkpoints of the effect.
func (mails) Name() string { return "reminder_mails" }

// EventTypes are the events that it gets.
func (mails) EventTypes() []string { return []string{"ReminderSent"} }

// StartFrom says that it sends no mails for reminders that were sent before it ran first.
func (mails) StartFrom() rouse.Start { return rouse.Now }

// Do would send the mail.
func (mails) Do(_ context.Context, ev eventstore.Event) error {
	fmt.Printf("mail: invoice %s is still open\n", ev.AggregateID)
	return nil
}

func run(ctx context.Context, env app.Env) error {
	if _, err := env.Pool.Exec(ctx, "create table if not exists dunning (invoice text primary key, paid boolean not null default false)"); err != nil {
		return err
	}
	worker, err := rouse.New(env.Pool, rouse.Config{Projections: []rouse.Projection{dunning{}}, Effects: []rouse.Effect{mails{}}, Log: env.Log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	select {
	case <-worker.Started():
	case err := <-ended:
		return err
	}
	if err := invoices(ctx, env.Pool); err != nil {
		return err
	}
	cancel()
	return <-ended
}

// invoices issues two invoices, of which one is paid, and tells what became of their reminders.
func invoices(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	number := time.Now().UnixMilli()
	open, paid := fmt.Sprintf("%d-a", number), fmt.Sprintf("%d-b", number)
	for _, e := range []struct{ invoice, event string }{{open, "InvoiceIssued"}, {paid, "InvoiceIssued"}, {paid, "InvoicePaid"}} {
		if err := appendTo(ctx, pool, e.invoice, e.event); err != nil {
			return err
		}
	}
	for _, invoice := range []string{open, paid} {
		events, err := eventstore.ReadStream(ctx, pool, eventstore.Stream{Type: "reminder", ID: invoice}, eventstore.ReadOptions{})
		if err != nil {
			return err
		}
		// It is handled at its time, and no earlier: whoever waits for it waits until then.
		if err := rouse.WaitFor(ctx, pool, "dunning", eventstore.Appended{Slot: events[0].Slot, Positions: []int64{events[0].GlobalPosition}}); err != nil {
			return err
		}
		if events, err = eventstore.ReadStream(ctx, pool, eventstore.Stream{Type: "reminder", ID: invoice}, eventstore.ReadOptions{}); err != nil {
			return err
		}
		fmt.Printf("invoice %s: %d reminders sent\n", invoice, len(events)-1)
	}
	return rouse.WaitForHead(ctx, pool, "reminder_mails")
}

// appendTo appends one event to an invoice, and returns when dunning has reacted.
func appendTo(ctx context.Context, pool *pgxpool.Pool, invoice, event string) error {
	var appended eventstore.Appended
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
		appended, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "invoice", ID: invoice}, eventstore.Any(),
			eventstore.NewEvent{Type: event, Payload: json.RawMessage(`{"cents": 4900}`)})
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s: invoice %s\n", event, invoice)
	return rouse.WaitFor(ctx, pool, "dunning", appended)
}
