package aggregate_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

// The events of an account. Seen is the balance and the version that a withdrawal was decided on.
type (
	paidIn struct {
		Cents int64 `json:"cents"`
	}
	withdrawn struct {
		Cents   int64 `json:"cents"`
		Balance int64 `json:"balance"`
		Events  int   `json:"events"`
	}
)

var known = &events.Registry{}

var (
	_ = events.Register[paidIn]("PaidIn", 1, events.In(known))
	_ = events.Register[withdrawn]("Withdrawn", 1, events.In(known))
)

// balance is the state of an account.
type balance struct {
	Cents  int64
	Events int
}

func fold(b balance, e any) balance {
	b.Events++
	switch e := e.(type) {
	case paidIn:
		b.Cents += e.Cents
	case withdrawn:
		b.Cents -= e.Cents
	}
	return b
}

// take withdraws, as far as the balance reaches.
func take(cents int64) func(b balance) ([]any, error) {
	return func(b balance) ([]any, error) {
		if b.Cents < cents {
			return nil, nil
		}
		return []any{withdrawn{Cents: cents, Balance: b.Cents, Events: b.Events}}, nil
	}
}

// pay pays in.
func pay(cents int64) func(balance) ([]any, error) {
	return func(balance) ([]any, error) { return []any{paidIn{cents}}, nil }
}

var account = eventstore.Stream{Type: "account", ID: "1"}

type testBundle struct {
	*testdb.DB
	t   *testing.T
	ctx context.Context
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &testBundle{DB: testdb.New(t), t: t, ctx: ctx}
}

// pool opens another pool, after change has changed its configuration.
func (b *testBundle) pool(change func(*pgxpool.Config)) *pgxpool.Pool {
	b.t.Helper()
	config, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	config.MaxConns = 20
	change(config)
	pool, err := pgxpool.NewWithConfig(b.ctx, config)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// execute is Execute for the stream of these tests.
func (b *testBundle) execute(db aggregate.DB, decide func(balance) ([]any, error), options ...aggregate.Option) (eventstore.Appended, error) {
	return aggregate.Execute(b.ctx, db, account, fold, decide, append(options, aggregate.Events(known))...)
}

// open pays in at the beginning.
func (b *testBundle) open(cents int64) {
	b.t.Helper()
	_, err := b.execute(b.Pool, pay(cents))
	require.NoError(b.t, err)
}

// history is every event of the account, as stored.
func (b *testBundle) history() []any {
	b.t.Helper()
	stored, err := eventstore.ReadStream(b.ctx, b.Pool, account, eventstore.ReadOptions{})
	require.NoError(b.t, err)
	values := make([]any, len(stored))
	for i, ev := range stored {
		values[i], err = known.Decode(ev)
		require.NoError(b.t, err)
	}
	return values
}

func (b *testBundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *testBundle) int(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// rival appends to the account as a program that knows nothing of this package.
func (b *testBundle) rival() error {
	_, err := b.Pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'account', '1', coalesce(max(aggregate_version), 0) + 1, 'PaidIn', '{"cents": 1}' from events where aggregate_type = 'account' and aggregate_id = '1'`)
	return err
}

// begin opens a transaction that is rolled back at the end of the test, unless the test has ended it.
func (b *testBundle) begin(isolation pgx.TxIsoLevel) pgx.Tx {
	b.t.Helper()
	tx, err := b.Pool.BeginTx(b.ctx, pgx.TxOptions{IsoLevel: isolation})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) })
	return tx
}
