package eventstore_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// requireUsable appends to another stream through the transaction, commits, and finds that the refused append left
// nothing behind.
func (b *testBundle) requireUsable(t *testing.T, tx pgx.Tx, version int64) {
	t.Helper()
	other := eventstore.Stream{Type: "other", ID: t.Name()}
	_, err := eventstore.Append(b.ctx, tx, other, eventstore.NoStream(), some(2)...)
	require.NoError(t, err, "the transaction was not usable any more")
	require.NoError(t, tx.Commit(b.ctx))
	require.Equal(t, int64(2), b.version(t, other))
	require.Equal(t, version, b.version(t, streamOf(t)))
}

func requireConflict(t *testing.T, err error, expected eventstore.Expected, actual int64) {
	t.Helper()
	require.ErrorIs(t, err, eventstore.ErrConflict)
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, streamOf(t), conflict.Stream)
	assert.Equal(t, expected, conflict.Expected)
	assert.Equal(t, actual, conflict.Actual)
}

func TestAppend_ConflictLeavesTheTransactionUsable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tc := range []struct {
		name     string
		expected eventstore.Expected
		says     string
	}{
		{"no stream", eventstore.NoStream(), "expected no events"},
		{"too low", eventstore.Exact(1), "expected version 1"},
		{"too high", eventstore.Exact(3), "expected version 3"},
	} {
		for _, mode := range modes {
			t.Run(tc.name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				oneAndMany(t, func(t *testing.T, n int) {
					stream := streamOf(t)
					b.append(t, stream, eventstore.NoStream(), some(2)...)
					tx := b.begin(t, b.pool(t, mode), pgx.ReadCommitted)
					_, err := eventstore.Append(b.ctx, tx, stream, tc.expected, some(n)...)
					requireConflict(t, err, tc.expected, 2)
					assert.ErrorContains(t, err, stream.String()+" is at version 2, "+tc.says)
					b.requireUsable(t, tx, 2)
				})
			})
		}
	}
}

// The naive forms fail here: a unique violation without a savepoint ends the transaction, and ON CONFLICT DO NOTHING for
// several rows keeps those that found their place.
func TestAppend_LosesAgainstAConcurrentCommitAsAWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			oneAndMany(t, func(t *testing.T, n int) {
				stream := streamOf(t)
				rival := b.begin(t, b.Pool, pgx.ReadCommitted)
				_, err := rival.Exec(b.ctx, insertSQL, stream.Type, stream.ID, 1)
				require.NoError(t, err)
				tx := b.begin(t, b.pool(t, mode), pgx.ReadCommitted)
				done := b.appendBlocked(t, tx, stream, eventstore.NoStream(), some(n)...)
				require.NoError(t, rival.Commit(b.ctx))
				requireConflict(t, (<-done).err, eventstore.NoStream(), 1)
				b.requireUsable(t, tx, 1)
			})
		})
	}
}

// A writer that does not look before it inserts can take a version in the middle of ours. The stream has a hole then, of
// its making; ours must be all in or all out.
func TestAppend_IsAllOrNothingAgainstABlindWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := streamOf(t)
	rival := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := rival.Exec(b.ctx, insertSQL, stream.Type, stream.ID, 2)
	require.NoError(t, err)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	done := b.appendBlocked(t, tx, stream, eventstore.NoStream(), some(3)...)
	require.NoError(t, rival.Commit(b.ctx))
	requireConflict(t, (<-done).err, eventstore.NoStream(), 2)
	require.NoError(t, tx.Commit(b.ctx))
	stored, err := eventstore.ReadStream(b.ctx, b.Pool, stream, eventstore.ReadOptions{})
	require.NoError(t, err)
	require.Len(t, stored, 1)
	assert.Equal(t, "PlainSQL", stored[0].Type)
}

func TestAppend_WinsWhenTheOtherRollsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, isolation := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(isolation), func(t *testing.T) {
			oneThenMany(t, func(t *testing.T, n int) {
				stream := streamOf(t)
				rival := b.begin(t, b.Pool, pgx.ReadCommitted)
				_, err := rival.Exec(b.ctx, insertSQL, stream.Type, stream.ID, 1)
				require.NoError(t, err)
				tx := b.begin(t, b.Pool, isolation)
				done := b.appendBlocked(t, tx, stream, eventstore.NoStream(), some(n)...)
				require.NoError(t, rival.Rollback(b.ctx))
				out := <-done
				require.NoError(t, out.err)
				assert.Equal(t, int64(n), out.appended.LastVersion)
				require.NoError(t, tx.Commit(b.ctx))
				assert.Equal(t, int64(n), b.version(t, stream))
			})
		})
	}
}

func TestAppend_AnyGoesBehindAConcurrentCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			oneAndMany(t, func(t *testing.T, n int) {
				stream := streamOf(t)
				rival := b.begin(t, b.Pool, pgx.ReadCommitted)
				for v := range 2 {
					_, err := rival.Exec(b.ctx, insertSQL, stream.Type, stream.ID, v+1)
					require.NoError(t, err)
				}
				tx := b.begin(t, b.pool(t, mode), pgx.ReadCommitted)
				done := b.appendBlocked(t, tx, stream, eventstore.Any(), some(n)...)
				require.NoError(t, rival.Commit(b.ctx))
				out := <-done
				require.NoError(t, out.err)
				assert.Equal(t, int64(3), out.appended.FirstVersion)
				b.requireUsable(t, tx, int64(2+n))
			})
		})
	}
}

// A transaction with one snapshot cannot see what it lost against, so no answer within it would be right.
func TestAppend_AsksForARetryOfTheTransactionWhereTheSnapshotIsFixed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, isolation := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		for name, expected := range map[string]eventstore.Expected{"exact": eventstore.NoStream(), "any": eventstore.Any()} {
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
				t.Run(string(isolation)+"/"+name+"/"+mode.String(), func(t *testing.T) {
					oneThenMany(t, func(t *testing.T, n int) {
						stream := streamOf(t)
						rival := b.begin(t, b.Pool, pgx.ReadCommitted)
						_, err := rival.Exec(b.ctx, insertSQL, stream.Type, stream.ID, 1)
						require.NoError(t, err)
						pool := b.pool(t, mode)
						tx := b.begin(t, pool, isolation)
						done := b.appendBlocked(t, tx, stream, expected, some(n)...)
						require.NoError(t, rival.Commit(b.ctx))
						err = (<-done).err
						require.ErrorIs(t, err, eventstore.ErrRetryTransaction)
						assert.NotErrorIs(t, err, eventstore.ErrConflict)
						assert.ErrorContains(t, err, "roll back and run the whole transaction again")
						var cause *pgconn.PgError
						assert.ErrorAs(t, err, &cause, "the server's own error got lost")

						// The advice holds.
						require.NoError(t, tx.Rollback(b.ctx))
						tx = b.begin(t, pool, isolation)
						_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Exact(1), some(n)...)
						require.NoError(t, err)
						require.NoError(t, tx.Commit(b.ctx))
						assert.Equal(t, int64(1+n), b.version(t, stream))
					})
				})
			}
		}
	}
}

func TestAppend_ReportsADeadlockAsAReasonToRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := streamOf(t)
	first, second := b.begin(t, b.Pool, pgx.ReadCommitted), b.begin(t, b.Pool, pgx.ReadCommitted)
	other := eventstore.Stream{Type: "order", ID: "2"}
	_, err := eventstore.Append(b.ctx, first, stream, eventstore.Any(), some(1)...)
	require.NoError(t, err)
	_, err = eventstore.Append(b.ctx, second, other, eventstore.Any(), some(1)...)
	require.NoError(t, err)
	done := b.appendBlocked(t, first, other, eventstore.Any(), some(1)...)
	_, err = eventstore.Append(b.ctx, second, stream, eventstore.Any(), some(1)...)
	if err != nil { // the server ends one of the two: the one whose check comes first
		require.ErrorIs(t, err, eventstore.ErrRetryTransaction)
		require.NoError(t, second.Rollback(b.ctx))
		require.NoError(t, (<-done).err)
		return
	}
	require.ErrorIs(t, (<-done).err, eventstore.ErrRetryTransaction)
}

func TestAppend_KnowsAnEventThatIsThereAlready(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			oneAndMany(t, func(t *testing.T, n int) {
				stream := streamOf(t)
				events := some(n)
				events[n-1].ID = eventstore.NewID()
				pool := b.pool(t, mode)
				b.append(t, eventstore.Stream{Type: "elsewhere", ID: t.Name()}, eventstore.NoStream(), events[n-1])
				tx := b.begin(t, pool, pgx.ReadCommitted)
				for _, expected := range []eventstore.Expected{eventstore.NoStream(), eventstore.Any()} {
					_, err := eventstore.Append(b.ctx, tx, stream, expected, events...)
					require.ErrorIs(t, err, eventstore.ErrDuplicateID)
					assert.ErrorContains(t, err, events[n-1].ID.String())
				}
				b.requireUsable(t, tx, 0)

				tx = b.begin(t, pool, pgx.RepeatableRead)
				_, err := eventstore.Append(b.ctx, tx, stream, eventstore.Any(), events...)
				require.ErrorIs(t, err, eventstore.ErrDuplicateID)
			})
		})
	}
}

// An append whose commit got no answer is repeated as it was: the stream is not at the expected version any more, but
// because of the very same events.
func TestAppend_RepeatedAsItWasFindsItsOwnEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	oneAndMany(t, func(t *testing.T, n int) {
		stream := streamOf(t)
		events := some(n)
		events[0].ID = eventstore.NewID()
		b.append(t, stream, eventstore.NoStream(), events...)
		tx := b.begin(t, b.Pool, pgx.ReadCommitted)
		_, err := eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), events...)
		require.ErrorIs(t, err, eventstore.ErrDuplicateID)
		assert.NotErrorIs(t, err, eventstore.ErrConflict)

		events[0].ID = eventstore.NewID()
		_, err = eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), events...)
		requireConflict(t, err, eventstore.NoStream(), int64(n))
		b.requireUsable(t, tx, int64(n))
	})
}

func TestAppend_LeavesTheCallersSavepointAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := streamOf(t)
	b.append(t, stream, eventstore.NoStream(), some(1)...)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := tx.Exec(b.ctx, `savepoint rouse_append`)
	require.NoError(t, err)
	_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Exact(1), some(3)...)
	require.NoError(t, err)
	rival := b.begin(t, b.Pool, pgx.ReadCommitted)
	other := eventstore.Stream{Type: "other", ID: "1"}
	_, err = rival.Exec(b.ctx, insertSQL, other.Type, other.ID, 1)
	require.NoError(t, err)
	done := b.appendBlocked(t, tx, other, eventstore.NoStream(), some(3)...)
	require.NoError(t, rival.Commit(b.ctx))
	require.ErrorIs(t, (<-done).err, eventstore.ErrConflict)
	own, err := eventstore.ReadStream(b.ctx, tx, stream, eventstore.ReadOptions{})
	require.NoError(t, err)
	require.Len(t, own, 4)

	_, err = tx.Exec(b.ctx, `rollback to savepoint rouse_append; release savepoint rouse_append`)
	require.NoError(t, err, "the caller's savepoint is gone")
	_, err = tx.Exec(b.ctx, `release savepoint rouse_append`)
	assert.Error(t, err, "Append left a savepoint of its own behind")
	require.NoError(t, tx.Rollback(b.ctx))
	assert.Equal(t, int64(1), b.version(t, stream))
}

func TestAppend_SaysWhatElseMayBeInTheWay(t *testing.T) {
	t.Parallel()
	oneAndMany(t, func(t *testing.T, n int) {
		b := setup(t)
		stream := streamOf(t)
		full := eventstore.Stream{Type: "full", ID: "1"}
		b.append(t, full, eventstore.NoStream(), some(50)...)
		_, err := b.Pool.Exec(b.ctx, `alter table events alter global_position restart with 1`)
		require.NoError(t, err)
		for _, expected := range []eventstore.Expected{eventstore.NoStream(), eventstore.Any()} {
			tx := b.begin(t, b.Pool, pgx.ReadCommitted)
			_, err = eventstore.Append(b.ctx, tx, stream, expected, some(n)...)
			require.ErrorContains(t, err, "check that the sequence of events.global_position is ahead of the table")
			require.NotErrorIs(t, err, eventstore.ErrConflict)
			require.NoError(t, tx.Rollback(b.ctx))
		}
	})
}

func TestAppend_DoesNotReportEventsThatATriggerDropped(t *testing.T) {
	t.Parallel()
	oneAndMany(t, func(t *testing.T, n int) {
		b := setup(t)
		stream := streamOf(t)
		_, err := b.Pool.Exec(b.ctx, `
			create function drop_first() returns trigger language plpgsql as $$
			begin if new.aggregate_version = 1 then return null; end if; return new; end $$;
			create trigger drop_first before insert on events for each row execute function drop_first()`)
		require.NoError(t, err)
		tx := b.begin(t, b.Pool, pgx.ReadCommitted)
		_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Any(), some(n)...)
		require.ErrorContains(t, err, "drops rows")
	})
}

func TestAppend_InAnAbortedTransactionPassesTheServersErrorOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	oneAndMany(t, func(t *testing.T, n int) {
		stream := streamOf(t)
		tx := b.begin(t, b.Pool, pgx.ReadCommitted)
		_, err := tx.Exec(b.ctx, `select 1 / 0`)
		require.Error(t, err)
		_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Any(), some(n)...)
		var cause *pgconn.PgError
		require.True(t, errors.As(err, &cause))
		assert.Equal(t, "25P02", cause.Code)

		require.NoError(t, tx.Rollback(b.ctx))
		_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Any(), some(n)...)
		require.ErrorIs(t, err, pgx.ErrTxClosed)
	})
}
