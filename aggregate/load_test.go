package aggregate_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/retention"
)

// counting is a database that notes how many rows each of its reads has brought.
type counting struct {
	aggregate.DB
	rows []*int
}

func (c *counting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := c.DB.Query(ctx, sql, args...)
	n := new(int)
	c.rows = append(c.rows, n)
	return countedRows{rows, n}, err
}

type countedRows struct {
	pgx.Rows
	n *int
}

func (r countedRows) Next() bool {
	next := r.Rows.Next()
	if next {
		*r.n++
	}
	return next
}

// long pays in one cent for each version from one to another.
func (b *testBundle) long(from, to int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)
		select 'account', '1', v, 'PaidIn', '{"cents": 1}', clock_timestamp() - interval '1 day' from generate_series($1::int, $2::int) v`, from, to)
}

func TestLoad_ALongStreamIsNeverInMemoryAsAWhole(t *testing.T) {
	t.Parallel()
	const events = 20_000
	b := setup(t)
	b.long(1, events)
	db := &counting{DB: b.Pool}
	state, version, err := aggregate.Load(b.ctx, db, account, fold, aggregate.Events(known))
	require.NoError(t, err)
	assert.Equal(t, balance{Cents: events, Events: events}, state)
	assert.EqualValues(t, events, version)
	require.Greater(t, len(db.rows), events/eventstore.DefaultReadLimit)
	for _, n := range db.rows {
		require.LessOrEqual(t, *n, eventstore.DefaultReadLimit, "the rows of one statement")
	}
}

// prune moves what is older than an hour into an archive, as an operator would.
func (b *testBundle) prune() {
	b.t.Helper()
	b.pruneAll(retention.PruneOptions{OlderThan: time.Hour, Dir: b.t.TempDir()})
}

// pruneAll prunes a log that one projection has handled, and whose last event is of another stream.
func (b *testBundle) pruneAll(opts retention.PruneOptions) {
	b.t.Helper()
	require.NoError(b.t, b.tryPruneAll(opts))
}

func (b *testBundle) tryPruneAll(opts retention.PruneOptions) error {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('other', gen_random_uuid(), 1, 'e', '{}')`)
	_, err := partition.Ensure(b.ctx, b.Pool, "all", 1)
	require.NoError(b.t, err)
	b.exec("update projection_checkpoints set last_global_position = (select max(global_position) from events) where projection_name = 'all'")
	pruned, err := retention.Prune(b.ctx, b.Pool, opts)
	if err == nil {
		require.NotZero(b.t, pruned.Removed+pruned.Superseded)
	}
	return err
}

// The last event of a stream stays in the log when the others leave it; folded by itself, it would be a wrong state without an error.
func TestExecute_AStreamWhoseFirstEventsHaveLeftTheLogIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 6)
	b.prune()
	assert.Equal(t, 1, b.int("select count(*) from events where aggregate_type = 'account'"))
	_, err := b.execute(b.Pool, func(balance) ([]any, error) { return nil, errRefused })
	require.ErrorIs(t, err, aggregate.ErrMissing)
	var missing *aggregate.MissingError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, aggregate.MissingError{Stream: account, From: 1, To: 5}, *missing)
	assert.ErrorContains(t, err, "versions 1 to 5 of account/1 are not in the log any more")
	assert.ErrorContains(t, err, "rouse archive restore")
}

func TestLoad_AHoleInTheMiddleIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, eventstore.DefaultReadLimit)
	b.long(eventstore.DefaultReadLimit+3, eventstore.DefaultReadLimit+9) // behind the first part
	_, _, err := aggregate.Load(b.ctx, b.Pool, account, fold, aggregate.Events(known))
	var missing *aggregate.MissingError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, aggregate.MissingError{Stream: account, From: eventstore.DefaultReadLimit + 1, To: eventstore.DefaultReadLimit + 2}, *missing)
}

// balances is a read model of accounts.
type balances struct{}

func (balances) Name() string { return "balances" }

func (balances) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, `insert into balances values ($1, $2) on conflict (account) do update set version = excluded.version`,
		ev.AggregateID, ev.AggregateVersion)
	return err
}

func TestExecute_WhatItReturnsCanBeWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table balances (account text primary key, version bigint)")
	worker := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{balances{}}}).WaitStarted()
	for range 5 {
		appended, err := b.execute(b.Pool, pay(1))
		require.NoError(t, err)
		require.NoError(t, rouse.WaitFor(b.ctx, b.Pool, "balances", appended))
		assert.EqualValues(t, appended.LastVersion, b.int("select version from balances where account = '1'"))
	}
	require.NoError(t, worker.Stop())
}
