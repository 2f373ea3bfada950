package rousetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// Replay checks that a read model is a function of the events: projection handles them twice, each time from the read model as it is in the
// database, and what the query returns must be the same. A handler fails here that keeps something in memory, or that takes the time
// or a random number from elsewhere than the event. A rouse.BatchProjection must come to the same by ApplyBatch, and the Reset of a
// rouse.Resetter must lead back to the beginning. The query says its order. All is rolled back.
func Replay(t testing.TB, db *DB, projection rouse.Projection, sql string, events ...eventstore.Event) {
	t.Helper()
	r := replay{db: db, projection: projection, sql: sql, events: events}
	if err := r.check(); err != nil {
		t.Fatalf("rousetest: replay of %s: %v", projection.Name(), err)
	}
}

type replay struct {
	db         *DB
	projection rouse.Projection
	sql        string
	events     []eventstore.Event
}

func (r replay) check() error {
	forms := formsOf(r.projection)
	before, first, err := r.pass(forms[0])
	if err != nil {
		return err
	}
	if difference(before, first) == "" {
		return fmt.Errorf("the events change nothing of what the query returns, so a replay shows nothing:\n%s\n%s", r.sql, table(first))
	}
	_, second, err := r.pass(forms[0])
	if err != nil {
		return err
	}
	if d := difference(first, second); d != "" {
		return fmt.Errorf("the second time came to something else than the first (what a handler writes may depend on the event alone):\n%s\n%s", r.sql, d)
	}
	if len(forms) > 1 {
		_, batched, err := r.pass(forms[1])
		if err != nil {
			return err
		}
		if d := difference(first, batched); d != "" {
			return fmt.Errorf("ApplyBatch came to something else than Apply:\n%s\n%s", r.sql, d)
		}
	}
	if resetter, is := as[rouse.Resetter](r.projection); is {
		return r.reset(resetter, forms[0], before, first)
	}
	return nil
}

// pass returns the rows before the events and after them.
func (r replay) pass(form form) (before, after []Row, err error) {
	err = r.db.rolledBack(func(ctx context.Context, tx pgx.Tx) error {
		if before, err = query(ctx, tx, r.sql); err != nil {
			return fmt.Errorf("the query: %w", err)
		}
		events, err := inLog(ctx, tx, r.events)
		if err != nil {
			return err
		}
		if err := form.handle(ctx, tx, filterOf(r.projection).of(events)); err != nil {
			return err
		}
		after, err = query(ctx, tx, r.sql)
		return err
	})
	return before, after, err
}

// reset checks that Reset empties the read model, and that it can be built anew after it.
func (r replay) reset(resetter rouse.Resetter, form form, before, first []Row) error {
	return r.db.rolledBack(func(ctx context.Context, tx pgx.Tx) error {
		events, err := inLog(ctx, tx, r.events)
		if err != nil {
			return err
		}
		events = filterOf(r.projection).of(events)
		if err := form.handle(ctx, tx, events); err != nil {
			return err
		}
		if err := resetter.Reset(ctx, tx); err != nil {
			return fmt.Errorf("the Reset: %w", err)
		}
		rows, err := query(ctx, tx, r.sql)
		if err != nil {
			return err
		}
		if d := difference(before, rows); d != "" {
			return fmt.Errorf("the Reset has left something behind:\n%s\n%s", r.sql, d)
		}
		if err := form.handle(ctx, tx, events); err != nil {
			return fmt.Errorf("after Reset: %w", err)
		}
		if rows, err = query(ctx, tx, r.sql); err != nil {
			return err
		}
		if d := difference(first, rows); d != "" {
			return fmt.Errorf("after Reset the events came to something else than before:\n%s\n%s", r.sql, d)
		}
		return nil
	})
}
