package aggregate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

var errRefused = errors.New("refused")

func TestExecute_AppendsWhatFollowsFromTheStream(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool := b.pool(func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			appended, err := b.execute(pool, func(s balance) ([]any, error) {
				assert.Equal(t, balance{}, s)
				return []any{paidIn{7}, paidIn{5}}, nil
			}, aggregate.Metadata("user", "ann"), aggregate.Metadata("trace", "1"))
			require.NoError(t, err)
			assert.Equal(t, []int64{1, 2}, []int64{appended.FirstVersion, appended.LastVersion})
			appended, err = b.execute(b.Conn(t), take(10))
			require.NoError(t, err)
			assert.Equal(t, []int64{3, 3}, []int64{appended.FirstVersion, appended.LastVersion})
			assert.Equal(t, []any{paidIn{7}, paidIn{5}, withdrawn{10, 12, 2}}, b.history())
			assert.Equal(t, 2, b.int(`select count(*) from events where metadata::jsonb = '{"user": "ann", "trace": "1"}'`))
			state, version, err := aggregate.Load(b.ctx, pool, account, fold, aggregate.Events(known))
			require.NoError(t, err)
			assert.Equal(t, balance{Cents: 2, Events: 3}, state)
			assert.EqualValues(t, 3, version)
		})
	}
}

func TestExecute_AnErrorOfTheDecisionIsReturnedAsItIsAndAppendsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, refusal := range []error{errRefused, fmt.Errorf("%w: %w", errRefused, eventstore.ErrConflict)} {
		tries := 0
		_, err := b.execute(b.Pool, func(balance) ([]any, error) {
			tries++
			return []any{paidIn{1}}, refusal
		})
		assert.Equal(t, refusal, err) //nolint:testifylint // the same, and not only of the same kind
		assert.Equal(t, 1, tries, "it is no conflict of this command")
	}
	assert.Zero(t, b.int("select count(*) from events"))
}

func TestExecute_NothingDecidedIsNothingAppended(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.open(5)
	appended, err := b.execute(b.Pool, take(10), aggregate.In(func(context.Context, pgx.Tx, eventstore.Appended) error { return errRefused }))
	require.NoError(t, err)
	assert.Equal(t, eventstore.Appended{}, appended)
	assert.Equal(t, 1, b.int("select count(*) from events"))
}

// insert writes a row beside the append.
func insert(ctx context.Context, tx pgx.Tx, appended eventstore.Appended) error {
	_, err := tx.Exec(ctx, "insert into beside values ($1)", appended.LastVersion)
	return err
}

func TestExecute_WhatInWritesIsCommittedWithTheEventsOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table beside (version bigint)")
	_, err := b.execute(b.Pool, pay(1), aggregate.In(insert))
	require.NoError(t, err)
	_, err = b.execute(b.Pool, pay(1), aggregate.In(insert), aggregate.In(func(context.Context, pgx.Tx, eventstore.Appended) error { return errRefused }))
	assert.Equal(t, errRefused, err)
	assert.Equal(t, 1, b.int("select count(*) from events"))
	assert.Equal(t, 1, b.int("select count(*) from beside"))

	tries := 0
	_, err = b.execute(b.Pool, pay(1), aggregate.In(insert), aggregate.In(func(ctx context.Context, tx pgx.Tx, _ eventstore.Appended) error {
		if tries++; tries == 1 {
			_, err := tx.Exec(ctx, "do $$ begin raise exception 'faster' using errcode = '40001'; end $$")
			return err
		}
		return nil
	}))
	require.NoError(t, err)
	assert.Equal(t, 2, tries, "the server said to try again")
	assert.Equal(t, 2, b.int("select count(*) from events"))
	assert.Equal(t, 2, b.int("select count(*) from beside"))
}

func TestExecute_IsAPartOfTheCallersTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.open(10)
	tx := b.begin(pgx.ReadCommitted)
	_, err := b.execute(tx, pay(5))
	require.NoError(t, err)
	_, err = b.execute(tx, func(s balance) ([]any, error) {
		assert.EqualValues(t, 15, s.Cents, "its own events are seen")
		return nil, errRefused
	})
	require.ErrorIs(t, err, errRefused)
	_, err = b.execute(tx, take(3), aggregate.In(func(ctx context.Context, tx pgx.Tx, _ eventstore.Appended) error {
		_, err := tx.Exec(ctx, "select 1 / 0")
		return err
	}))
	require.ErrorContains(t, err, "division by zero")
	_, err = b.execute(tx, take(4))
	require.NoError(t, err, "the transaction was not usable any more")
	assert.Equal(t, 1, b.int("select count(*) from events"), "nothing is seen before the commit")
	require.NoError(t, tx.Commit(b.ctx))
	assert.Equal(t, []any{paidIn{10}, paidIn{5}, withdrawn{4, 15, 2}}, b.history())
}

func TestExecute_AConflictInTheCallersTransactionIsTriedAgainWhereItsSnapshotMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.open(10)
	tries := 0
	decide := func(s balance) ([]any, error) {
		if tries++; tries == 1 {
			if err := b.rival(); err != nil {
				return nil, err
			}
		}
		return take(10)(s)
	}
	tx := b.begin(pgx.ReadCommitted)
	_, err := b.execute(tx, decide)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(b.ctx))
	assert.Equal(t, 2, tries)
	assert.Equal(t, []any{paidIn{10}, paidIn{1}, withdrawn{10, 11, 2}}, b.history())

	tries = 0
	b.open(10)
	tx = b.begin(pgx.RepeatableRead)
	_, err = b.execute(tx, decide)
	require.ErrorIs(t, err, eventstore.ErrRetryTransaction)
	assert.Equal(t, 1, tries, "no further try in it can see what came")
}

func TestExecute_AnEventThatIsNotUnderstoodIsAnErrorAndNoHole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.open(10)
	for _, tc := range []struct {
		kind, payload string
		version       int
		want          error
	}{
		{"Frozen", "{}", 1, events.ErrUnknown},
		{"PaidIn", "{}", 2, events.ErrNewer},
		{"PaidIn", `{"cents": "many"}`, 1, events.ErrPayload},
	} {
		tx := b.begin(pgx.ReadCommitted)
		_, err := tx.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload)
			values ('account', '1', 2, $1, $2, $3)`, tc.kind, tc.version, tc.payload)
		require.NoError(t, err)
		_, err = b.execute(tx, func(balance) ([]any, error) { return nil, errRefused })
		require.ErrorIs(t, err, tc.want)
		assert.ErrorContains(t, err, "version 2 of account/1")
		require.NoError(t, tx.Rollback(b.ctx))
	}
	_, err := b.execute(b.Pool, func(balance) ([]any, error) { return []any{"nothing registered"}, nil })
	require.ErrorIs(t, err, events.ErrUnknown)
	assert.Equal(t, 1, b.int("select count(*) from events"))
}

// A command whose commit got no answer is repeated: the id of its event tells.
func TestExecute_AnIDMakesACommandRepeatable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := eventstore.NewID()
	decide := func(balance) ([]any, error) {
		return []any{eventstore.NewEvent{ID: id, Type: "PaidIn", Payload: json.RawMessage(`{"cents": 3}`)}}, nil
	}
	_, err := b.execute(b.Pool, decide)
	require.NoError(t, err)
	_, err = b.execute(b.Pool, decide)
	require.ErrorIs(t, err, eventstore.ErrDuplicateID)
	assert.Equal(t, 1, b.int("select count(*) from events"))
}

// A connection begins no second transaction: the command's commit would be the caller's, and a snapshot of what may be rolled back.
func TestExecute_AConnectionThatIsInATransactionIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.open(5)
	held, err := b.Pool.Acquire(b.ctx)
	require.NoError(t, err)
	defer held.Release()
	for name, db := range map[string]aggregate.DB{"pgx.Conn": b.Conn(t), "pgxpool.Conn": held} {
		_, err := b.execute(db, pay(1))
		require.NoError(t, err, name)
		before := b.int("select count(*) from events")
		tx, err := db.Begin(b.ctx)
		require.NoError(t, err)
		_, err = b.execute(tx, pay(1))
		require.NoError(t, err, name)
		_, err = b.execute(db, pay(1))
		require.ErrorIs(t, err, aggregate.ErrOption, name)
		_, _, err = aggregate.Load(b.ctx, db, account, fold, aggregate.Events(known), aggregate.Snapshot("balance", 1), aggregate.SnapshotEvery(1))
		require.ErrorIs(t, err, aggregate.ErrOption, name)
		require.NoError(t, tx.Rollback(b.ctx))
		assert.Equal(t, before, b.int("select count(*) from events"), name)
		assert.Zero(t, b.int("select count(*) from rouse_snapshots"), name)
	}
}

func TestExecute_RefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := aggregate.Execute[balance](b.ctx, b.Pool, account, nil, pay(1))
	require.ErrorIs(t, err, aggregate.ErrOption)
	_, err = aggregate.Execute(b.ctx, b.Pool, account, fold, nil)
	require.ErrorIs(t, err, aggregate.ErrOption)
	_, err = b.execute(nil, pay(1))
	require.ErrorIs(t, err, aggregate.ErrOption)
	_, err = b.execute(b.Pool, pay(1), aggregate.In(nil))
	require.ErrorIs(t, err, aggregate.ErrOption)
	_, err = aggregate.Execute(b.ctx, b.Pool, account, fold, pay(1), aggregate.Events(nil))
	require.ErrorIs(t, err, aggregate.ErrOption)
	_, _, err = aggregate.Load[balance](b.ctx, b.Pool, account, nil)
	require.ErrorIs(t, err, aggregate.ErrOption)
}
