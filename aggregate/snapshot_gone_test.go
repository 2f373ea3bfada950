package aggregate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/retention"
)

func TestSnapshot_CoversEventsThatHaveLeftTheLog(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 15)
	b.load(b.Pool, 1) // at 15
	b.long(16, 18)
	b.exec("update events set created_at = clock_timestamp() where aggregate_version > 14")
	b.prune()
	assert.Equal(t, 4, b.int("select count(*) from events where aggregate_type = 'account'"), "15 to 18")
	state, read := b.load(b.Pool, 1)
	assert.Equal(t, paid(18), state)
	assert.Equal(t, 3, read)

	b.exec("update events set created_at = created_at - interval '1 day' where aggregate_type = 'account'")
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('account', '1', 19, 'PaidIn', '{"cents": 1}')`)
	b.exec("update events set created_at = clock_timestamp() where aggregate_version in (16, 17, 18)")
	_, err := b.execute(b.Pool, take(19), aggregate.Snapshot("balance", 1))
	require.NoError(t, err, "what is behind the snapshot is there")

	b.exec("delete from events where aggregate_version = 16") // as if it had been pruned too
	_, _, err = b.tryLoad(b.Pool, 1)
	var missing *aggregate.MissingError
	require.ErrorAs(t, err, &missing, "the snapshot does not reach as far")
	assert.Equal(t, aggregate.MissingError{Stream: account, From: 16, To: 16}, *missing)
	b.exec("delete from rouse_snapshots")
	_, _, err = b.tryLoad(b.Pool, 1)
	require.ErrorIs(t, err, aggregate.ErrMissing)
	require.NoError(t, b.reported())
}

func TestSnapshot_PruneForgetsThoseOfStreamsOfWhichNothingIsLeft(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	b.load(b.Pool, 1)
	b.pruneAll(retention.PruneOptions{OlderThan: time.Hour, Dir: t.TempDir(), LastToo: true})
	assert.Zero(t, b.int("select count(*) from events where aggregate_type = 'account'"))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
	state, _ := b.load(b.Pool, 1)
	assert.Equal(t, balance{}, state, "as Append has it: a new stream")
}

// A snapshot that is left when its stream is gone would be one of the stream that begins anew, once that has grown past it and is pruned in its turn.
func TestSnapshot_GoesInTheTransactionThatRemovesTheRestOfItsStream(t *testing.T) {
	t.Parallel()
	for name, stays := range map[string]bool{"out of a new archive": false, "that had stayed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPaid(t, 12)
			b.load(b.Pool, 1)
			left := 12
			if stays {
				b.prune()
				left = 1
			}
			b.exec(`create function stop() returns trigger language plpgsql as $$ begin raise exception 'stopped'; end $$;
				create trigger stop before delete on rouse_snapshots for each row execute function stop()`)
			options := retention.PruneOptions{OlderThan: time.Hour, Dir: t.TempDir(), LastToo: true}
			require.ErrorContains(t, b.tryPruneAll(options), "stopped")
			assert.Equal(t, left, b.int("select count(*) from events where aggregate_type = 'account'"), "both are there, or neither")
			state, _ := b.load(b.Pool, 1)
			assert.Equal(t, paid(12), state)
			b.exec("drop trigger stop on rouse_snapshots")
			require.NoError(t, b.tryPruneAll(options))
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
			assert.Zero(t, b.int("select count(*) from events where aggregate_type = 'account'"))
			require.NoError(t, b.reported())
		})
	}
}

func TestErasureRemovesSnapshots(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	b.load(b.Pool, 1)
	b.load(b.Pool, 2)
	b.exec(`insert into rouse_snapshots select 'account', '2', name, state_version, aggregate_version, event_id, state from rouse_snapshots where state_version = 1`)
	erased, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{Payload: `{"cents": 0}`})
	require.NoError(t, err)
	assert.EqualValues(t, 2, erased.Snapshots)
	assert.Equal(t, 1, b.int("select count(*) from rouse_snapshots"), "that of another one")
	state, _ := b.load(b.Pool, 1)
	assert.Equal(t, balance{Events: 12}, state)
	assert.Equal(t, 2, b.int("select count(*) from rouse_snapshots"), "and what comes behind the erasure is kept again")
	require.NoError(t, b.reported())
}

// hooked is a pool that calls a function before it begins a transaction of its own, which is when a snapshot is about to be kept.
type hooked struct {
	*pgxpool.Pool
	before func()
}

func (h hooked) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	h.before()
	return h.Pool.BeginTx(ctx, options)
}

// The state was read before the erasure and is to be kept behind it: what was forgotten would be back.
func TestErasure_IsNotUndoneByASnapshotThatIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, erase := range map[string]func(b *testBundle) error{
		"erased": func(b *testBundle) error {
			_, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{Payload: `{"cents": 0}`})
			return err
		},
		"removed": func(b *testBundle) error {
			b.exec("update events set created_at = clock_timestamp() - interval '1 day'")
			b.pruneAll(retention.PruneOptions{OlderThan: time.Hour, Dir: b.t.TempDir(), LastToo: true})
			return nil
		},
		"begun anew": func(b *testBundle) error {
			b.pruneAll(retention.PruneOptions{OlderThan: time.Hour, Dir: b.t.TempDir(), LastToo: true})
			b.long(1, 14)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPaid(t, 12)
			done := false
			state, _ := b.load(hooked{b.Pool, func() {
				require.NoError(t, erase(b.testBundle))
				done = true
			}}, 1)
			require.True(t, done)
			assert.Equal(t, paid(12), state, "what was read")
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
			require.NoError(t, b.reported())
		})
	}
}

// The server that erases by now may have another clock than the one that did before.
func TestErasure_IsSeenAlsoIfItsClockIsBehindThatOfAnEarlierOne(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 0)
	erase := func() {
		_, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{})
		require.NoError(t, err)
	}
	b.long(1, 12)
	erase()
	b.exec("update rouse_erasures set at = at + interval '1 day'")
	b.long(13, 15)
	state, _ := b.load(hooked{b.Pool, erase}, 1)
	assert.Equal(t, balance{Cents: 3, Events: 15}, state, "what was read")
	assert.Equal(t, 2, b.int("select count(*) from rouse_erasures"))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
	b.load(b.Pool, 1)
	assert.Equal(t, 1, b.int("select count(*) from rouse_snapshots"), "what is left is kept")
	require.NoError(t, b.reported())
}

// The erasure has deleted the snapshots that it found and has not committed: a snapshot that is made now must wait, and then see it. By
// what it saw when it began it would be kept.
func TestErasure_IsWaitedForByASnapshotThatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.long(1, 12)
			pool := b.pool(func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			b.exec(`create table held (); create function hold() returns trigger language plpgsql as $$ begin lock table held in access exclusive mode; return null; end $$;
				create trigger hold after insert on rouse_erasures for each row execute function hold()`)
			holder := b.begin(pgx.ReadCommitted)
			_, err := holder.Exec(b.ctx, "select from held")
			require.NoError(t, err)
			erased := make(chan error, 1)
			go func() {
				_, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{})
				erased <- err
			}()
			b.waiting("held")

			conn, err := pool.Acquire(b.ctx)
			require.NoError(t, err)
			defer conn.Release()
			saved := make(chan error, 1)
			go func() {
				saved <- pgx.BeginTxFunc(b.ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
					var id string
					if err := tx.QueryRow(b.ctx, "select event_id::text from events where aggregate_version = 12").Scan(&id); err != nil {
						return err
					}
					tag, err := tx.Exec(b.ctx, aggregate.SQLSaveSnapshot, "account", "1", "balance", 1, 12, id, `{"Cents": 12}`, (*string)(nil), false)
					if err == nil && tag.RowsAffected() > 0 {
						err = fmt.Errorf("%d rows were kept of what is erased", tag.RowsAffected())
					}
					return err
				})
			}()
			b.waiting("rouse_snapshots")
			require.NoError(t, holder.Rollback(b.ctx))
			require.NoError(t, <-erased)
			require.NoError(t, <-saved)
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
		})
	}
}

// waiting returns once a session waits for a table.
func (b *testBundle) waiting(table string) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "a session that waits for "+table, func() (waits bool, err error) {
		err = b.Pool.QueryRow(b.ctx, "select exists (select from pg_locks where relation = $1::regclass and not granted)", table).Scan(&waits)
		return waits, err
	})
}
