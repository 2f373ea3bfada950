package rousetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/rousetest"
)

func TestMain(m *testing.M) { testdb.Main(m) } // which calls Stop before it looks for goroutines

const createBalances = `create table balances (account text primary key, cents bigint not null, note text)`

var errOverdrawn = errors.New("overdrawn")

// balances is a projection in the form of a rouse.Projection.
type balances struct{ name string }

func (b balances) Name() string       { return b.name }
func (balances) EventTypes() []string { return []string{"Deposited", "Withdrawn"} }
func (balances) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "truncate balances")
	return err
}

func (balances) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var money struct{ Cents int64 }
	if err := json.Unmarshal(ev.Payload, &money); err != nil {
		return err
	}
	if ev.Type == "Withdrawn" {
		money.Cents = -money.Cents
	}
	var now int64
	err := tx.QueryRow(ctx, `insert into balances as b values ($1, $2) on conflict (account) do update set cents = b.cents + excluded.cents returning cents`,
		ev.AggregateID, money.Cents).Scan(&now)
	if err == nil && now < 0 {
		err = errOverdrawn
	}
	return err
}

// queued is the same as a rouse.Queuer, without a limit.
type queued struct{}

func (queued) Name() string         { return "queued" }
func (queued) EventTypes() []string { return []string{"Deposited"} }
func (queued) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue(`insert into balances as b values ($1, ($2::json->>'cents')::bigint) on conflict (account) do update set cents = b.cents + excluded.cents`,
		ev.AggregateID, ev.Payload)
	return nil
}

var _ rouse.Resetter = balances{}

func deposited(account, cents string) *rousetest.Builder {
	return rousetest.Stream("account", account).JSON("Deposited", `{"cents": `+cents+`}`)
}
