package rousetest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/rousetest"
)

// faulty is balances with a fault.
type faulty struct {
	balances
	apply func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
	reset string
}

func (f *faulty) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if err := f.balances.Apply(ctx, tx, ev); err != nil || f.apply == nil {
		return err
	}
	return f.apply(ctx, tx, ev)
}

func (f *faulty) Reset(ctx context.Context, tx pgx.Tx) error {
	if f.reset == "" {
		return f.balances.Reset(ctx, tx)
	}
	_, err := tx.Exec(ctx, f.reset)
	return err
}

// twoForms does something else in a batch.
type twoForms struct{ balances }

func (twoForms) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	batch.Queue("insert into balances values ($1, 0)", events[0].AggregateID)
	return nil
}

func TestReplay(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances})
	events := append(deposited("a", "10").Events(), deposited("b", "5").JSON("Withdrawn", `{"cents": 2}`).Events()...)
	const sql = "select * from balances order by account"
	rousetest.Replay(t, db, balances{"b"}, sql, events...)
	rousetest.Replay(t, db, rouse.Batched(queued{}), sql, events...)
	rousetest.Replay(t, db, &faulty{}, sql, events...)

	set := func(what string) func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		return func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
			_, err := tx.Exec(ctx, "update balances set note = "+what)
			return err
		}
	}
	calls := 0
	for says, p := range map[string]rouse.Projection{
		"what a handler writes may depend on the event alone": &faulty{apply: set("clock_timestamp()::text")},
		"came to something else than the first": &faulty{apply: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
			calls++ // a memory
			_, err := tx.Exec(ctx, "update balances set cents = $1", calls)
			return err
		}},
		"the Reset has left something behind":                      &faulty{reset: "delete from balances where account = 'a'"},
		"the Reset: ERROR":                                         &faulty{reset: "truncate nothing"},
		"ApplyBatch came to something else than Apply":             twoForms{},
		"the events change nothing of what the query returns":      rouse.Batched(deaf{}),
		"an event of When has failed: Deposited of account/a, ver": &faulty{apply: set("nothing")},
	} {
		r := testdb.Record(t, func(t testing.TB) { rousetest.Replay(t, db, p, sql, events...) })
		require.Len(t, r.Failures, 1, says)
		require.Contains(t, r.Failures[0], says)
	}
	db.Expect(t, sql)
}

// deaf handles nothing.
type deaf struct{ queued }

func (deaf) EventTypes() []string { return []string{"Unheard"} }
