package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"
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

// reports are what was reported of snapshots.
type reports struct {
	mu   sync.Mutex
	errs []error // guarded by mu
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// joined is all that was reported, as one error.
func (r *reports) joined() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// load loads the account with snapshots of a version every 10 events, and returns how many events were read for it.
func (b *testBundle) load(db aggregate.DB, version int, r *reports) (state balance, read int) {
	b.t.Helper()
	state, read, err := b.tryLoad(db, version, r)
	require.NoError(b.t, err)
	return state, read
}

func (b *testBundle) tryLoad(db aggregate.DB, version int, r *reports) (state balance, read int, err error) {
	counted := func(s balance, e any) balance {
		read++
		return fold(s, e)
	}
	state, _, err = aggregate.Load(b.ctx, db, account, counted, aggregate.Events(known),
		aggregate.Snapshot("balance", version), aggregate.SnapshotEvery(10), aggregate.Report(r.add))
	return state, read, err
}

// paid is the balance after some cents of one each.
func paid(n int) balance { return balance{Cents: int64(n), Events: n} }

func TestSnapshot_OnlyWhatIsBehindItIsRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool := b.pool(func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			var r reports
			for _, tc := range []struct{ to, read, snapshot int }{
				{9, 9, 0}, // not enough of them yet
				{12, 12, 12},
				{12, 0, 12},
				{21, 9, 12},
				{22, 10, 22},
				{23, 1, 22},
			} {
				if have := b.int("select count(*) from events"); have < tc.to {
					b.long(have+1, tc.to)
				}
				state, read := b.load(pool, 1, &r)
				assert.Equal(t, paid(tc.to), state)
				assert.Equal(t, tc.read, read)
				assert.Equal(t, tc.snapshot, b.int("select coalesce(max(aggregate_version), 0) from rouse_snapshots"))
			}
			require.NoError(t, r.joined())

			appended, err := b.execute(pool, func(s balance) ([]any, error) { return take(23)(s) }, aggregate.Snapshot("balance", 1))
			require.NoError(t, err)
			assert.EqualValues(t, 24, appended.LastVersion)
		})
	}
}

func TestSnapshot_OneOfAnotherVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	var r reports
	b.load(b.Pool, 1, &r)
	b.exec("update rouse_snapshots set state = '{\"Cents\": 1000000}'")
	state, read := b.load(b.Pool, 2, &r)
	assert.Equal(t, paid(12), state)
	assert.Equal(t, 12, read)
	assert.Equal(t, 2, b.int("select count(*) from rouse_snapshots"), "each release has its own")
	_, read = b.load(b.Pool, 2, &r)
	assert.Zero(t, read)
	require.NoError(t, r.joined())
}

// Whatever is in the table, the state is that of the events; what is of no use gives way.
func TestSnapshot_WhatIsOfNoUseIsDiscarded(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"no state":                        `update rouse_snapshots set state = '[]'`,
		"of another type":                 `update rouse_snapshots set state = '{"Cents": "s3cret"}'`,
		"of a stream that began anew":     `update rouse_snapshots set event_id = gen_random_uuid(), state = '{"Cents": 7}'`,
		"behind the end":                  `update rouse_snapshots set aggregate_version = 400, state = '{"Cents": 7}'`,
		"of events that a restore lacks":  `with e as (delete from events where aggregate_version > 10) update rouse_snapshots set state = '{"Cents": 7}'`,
		"behind the end and of no events": `with e as (delete from events) update rouse_snapshots set aggregate_version = 400`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.long(1, 12)
			var r reports
			b.load(b.Pool, 1, &r)
			b.exec(sql)
			require.NoError(t, r.joined())
			n := b.int("select count(*) from events")
			state, read := b.load(b.Pool, 1, &r)
			assert.Equal(t, paid(n), state)
			assert.Equal(t, n, read)
			require.Error(t, r.joined())
			assert.ErrorContains(t, r.joined(), "use the snapshot balance of account/1")
			assert.NotContains(t, r.joined().Error(), "s3cret")
			if n > 0 {
				_, read = b.load(b.Pool, 1, &r)
				assert.Zero(t, read, "another one has taken its place")
			}
		})
	}
}

func TestSnapshot_NobodyNeedsTheTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	b.exec("drop table rouse_snapshots")
	var r reports
	state, _ := b.load(b.Pool, 1, &r)
	assert.Equal(t, paid(12), state)
	assert.ErrorContains(t, r.joined(), "read the snapshot balance of account/1")
	tx := b.begin(pgx.ReadCommitted)
	state, _ = b.load(tx, 1, &r)
	assert.Equal(t, paid(12), state)
	_, err := b.execute(tx, take(12), aggregate.Snapshot("balance", 1))
	require.NoError(t, err, "the caller's transaction goes on")
	require.NoError(t, tx.Commit(b.ctx))
	erased, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{})
	require.NoError(t, err)
	assert.Zero(t, erased.Snapshots)
}

// A schema before the one that has snapshots, and the binary of today.
func TestSnapshot_ASchemaWithoutThemDoes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	b := &testBundle{DB: testdb.At(t, 18), t: t, ctx: ctx}
	b.long(1, 12)
	var r reports
	state, _ := b.load(b.Pool, 1, &r)
	assert.Equal(t, paid(12), state)
	require.Error(t, r.joined())
}

// In the caller's transaction its own events are seen, which may be rolled back: so none is made there, and those that are there are used.
func TestSnapshot_NoneIsMadeOfWhatMayBeRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	var r reports
	tx := b.begin(pgx.ReadCommitted)
	for i := range 15 {
		_, err := b.execute(tx, pay(1), aggregate.Snapshot("balance", 1), aggregate.SnapshotEvery(1))
		require.NoError(t, err, i)
	}
	state, read := b.load(tx, 1, &r)
	assert.Equal(t, paid(27), state)
	assert.Equal(t, 27, read)
	require.NoError(t, tx.Rollback(b.ctx))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))

	b.load(b.Pool, 1, &r)
	_, read = b.load(b.begin(pgx.RepeatableRead), 1, &r)
	assert.Zero(t, read)
	require.NoError(t, r.joined())
}

// Every snapshot that is ever in the table is the fold of the events up to it, whatever is appended meanwhile.
func TestSnapshot_OneThatIsMadeBesideAppendsIsExact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(func(*pgxpool.Config) {})
	b.exec(`create table seen (version bigint, event_id uuid, state json);
		create function note() returns trigger language plpgsql as $$
		begin insert into seen values (new.aggregate_version, new.event_id, new.state); return null; end $$;
		create trigger note after insert or update on rouse_snapshots for each row execute function note()`)
	var r reports
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				_, err := b.execute(pool, pay(int64(w*1000+i)), aggregate.Tries(-1), aggregate.Snapshot("balance", 1), aggregate.SnapshotEvery(1), aggregate.Report(r.add))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 200, b.int("select count(*) from events"))
	require.Greater(t, b.int("select count(distinct version) from seen"), 10)
	assert.Zero(t, b.int(`select count(*) from seen s where (s.state ->> 'Cents')::bigint <> (select sum((payload ->> 'cents')::bigint) from events where aggregate_version <= s.version)
		or (s.state ->> 'Events')::bigint <> s.version or s.event_id <> (select event_id from events where aggregate_version = s.version)`))
	for range 3 {
		_, err := b.execute(pool, func(s balance) ([]any, error) {
			assert.Equal(t, int64(b.int("select sum((payload ->> 'cents')::bigint) from events")), s.Cents)
			return nil, nil
		}, aggregate.Snapshot("balance", 1))
		require.NoError(t, err)
	}
	if err := r.joined(); err != nil {
		assert.ErrorContains(t, err, "55P03", "nothing but waits that were not worth it")
	}
}

func TestSnapshot_CoversEventsThatHaveLeftTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 15)
	var r reports
	b.load(b.Pool, 1, &r) // at 15
	b.long(16, 18)
	b.exec("update events set created_at = clock_timestamp() where aggregate_version > 14")
	b.prune()
	assert.Equal(t, 4, b.int("select count(*) from events where aggregate_type = 'account'"), "15 to 18")
	state, read := b.load(b.Pool, 1, &r)
	assert.Equal(t, paid(18), state)
	assert.Equal(t, 3, read)

	b.exec("update events set created_at = created_at - interval '1 day' where aggregate_type = 'account'")
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('account', '1', 19, 'PaidIn', '{"cents": 1}')`)
	b.exec("update events set created_at = clock_timestamp() where aggregate_version in (16, 17, 18)")
	_, err := b.execute(b.Pool, take(19), aggregate.Snapshot("balance", 1))
	require.NoError(t, err, "what is behind the snapshot is there")

	b.exec("delete from events where aggregate_version = 16") // as if it had been pruned too
	_, _, err = b.tryLoad(b.Pool, 1, &r)
	var missing *aggregate.MissingError
	require.ErrorAs(t, err, &missing, "the snapshot does not reach as far")
	assert.Equal(t, aggregate.MissingError{Stream: account, From: 16, To: 16}, *missing)
	b.exec("delete from rouse_snapshots")
	_, _, err = b.tryLoad(b.Pool, 1, &r)
	require.ErrorIs(t, err, aggregate.ErrMissing)
	require.NoError(t, r.joined())
}

func TestSnapshot_PruneForgetsThoseOfStreamsOfWhichNothingIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	var r reports
	b.load(b.Pool, 1, &r)
	b.pruneAll(retention.PruneOptions{OlderThan: time.Hour, Dir: t.TempDir(), LastToo: true})
	assert.Zero(t, b.int("select count(*) from events where aggregate_type = 'account'"))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
	state, _ := b.load(b.Pool, 1, &r)
	assert.Equal(t, balance{}, state, "as Append has it: a new stream")
}

// A snapshot that is left when its stream is gone would be one of the stream that begins anew, once that has grown past it and is pruned in its turn.
func TestSnapshot_GoesInTheTransactionThatRemovesTheRestOfItsStream(t *testing.T) {
	t.Parallel()
	for name, stays := range map[string]bool{"out of a new archive": false, "that had stayed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.long(1, 12)
			var r reports
			b.load(b.Pool, 1, &r)
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
			state, _ := b.load(b.Pool, 1, &r)
			assert.Equal(t, paid(12), state)
			b.exec("drop trigger stop on rouse_snapshots")
			require.NoError(t, b.tryPruneAll(options))
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
			assert.Zero(t, b.int("select count(*) from events where aggregate_type = 'account'"))
			require.NoError(t, r.joined())
		})
	}
}

func TestErasureRemovesSnapshots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	var r reports
	b.load(b.Pool, 1, &r)
	b.load(b.Pool, 2, &r)
	b.exec(`insert into rouse_snapshots select 'account', '2', name, state_version, aggregate_version, event_id, state from rouse_snapshots where state_version = 1`)
	erased, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{Payload: `{"cents": 0}`})
	require.NoError(t, err)
	assert.EqualValues(t, 2, erased.Snapshots)
	assert.Equal(t, 1, b.int("select count(*) from rouse_snapshots"), "that of another one")
	state, _ := b.load(b.Pool, 1, &r)
	assert.Equal(t, balance{Events: 12}, state)
	assert.Equal(t, 2, b.int("select count(*) from rouse_snapshots"), "and what comes behind the erasure is kept again")
	require.NoError(t, r.joined())
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
			b := setup(t)
			b.long(1, 12)
			var r reports
			done := false
			state, _ := b.load(hooked{b.Pool, func() {
				require.NoError(t, erase(b))
				done = true
			}}, 1, &r)
			require.True(t, done)
			assert.Equal(t, paid(12), state, "what was read")
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
			require.NoError(t, r.joined())
		})
	}
}

// The server that erases by now may have another clock than the one that did before.
func TestErasure_IsSeenAlsoIfItsClockIsBehindThatOfAnEarlierOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	erase := func() {
		_, err := retention.Erase(b.ctx, b.Pool, account, retention.EraseOptions{})
		require.NoError(t, err)
	}
	b.long(1, 12)
	erase()
	b.exec("update rouse_erasures set at = at + interval '1 day'")
	b.long(13, 15)
	var r reports
	state, _ := b.load(hooked{b.Pool, erase}, 1, &r)
	assert.Equal(t, balance{Cents: 3, Events: 15}, state, "what was read")
	assert.Equal(t, 2, b.int("select count(*) from rouse_erasures"))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
	b.load(b.Pool, 1, &r)
	assert.Equal(t, 1, b.int("select count(*) from rouse_snapshots"), "what is left is kept")
	require.NoError(t, r.joined())
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

// What deploy/sql/roles.sql grants to those who append is enough, and less than that is no reason to fail.
func TestSnapshot_NeedsNoMoreRightsThanAnAppenderHas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	role := pgx.Identifier{b.Name + " Appender"}.Sanitize()
	b.exec("create role " + role)
	t.Cleanup(func() {
		_, err := b.Pool.Exec(context.WithoutCancel(b.ctx), "drop owned by "+role+"; drop role "+role)
		assert.NoError(t, err)
	})
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, "set role "+role)
	require.NoError(t, err)
	script, err := os.ReadFile("../deploy/sql/roles.sql")
	require.NoError(t, err)
	grants := regexp.MustCompile(`(?m)^grant ([^;]*?)\s+to rouse_appender;`).FindAllStringSubmatch(string(script), -1)
	require.NotEmpty(t, grants)
	for i, grant := range grants {
		b.exec("grant " + grant[1] + " to " + role)
		if !strings.Contains(grant[1], "rouse_snapshots") && i == 1 {
			var r reports
			state, _ := b.load(conn, 1, &r)
			assert.Equal(t, paid(12), state)
			assert.ErrorContains(t, r.joined(), "42501")
		}
	}
	var r reports
	b.load(conn, 1, &r)
	_, read := b.load(conn, 1, &r)
	assert.Zero(t, read)
	b.long(13, 30)
	b.load(conn, 1, &r)
	assert.Equal(t, 30, b.int("select aggregate_version from rouse_snapshots"))
	_, err = b.execute(conn, take(30), aggregate.Snapshot("balance", 1))
	require.NoError(t, err)
	require.NoError(t, r.joined())
}

// A snapshot that cannot be kept now is not worth a wait: the command goes on.
func TestSnapshot_HoldsNoCommandUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	tx := b.begin(pgx.ReadCommitted)
	_, err := tx.Exec(b.ctx, "lock table rouse_snapshots in share row exclusive mode")
	require.NoError(t, err)
	var r reports
	state, _ := b.load(b.Pool, 1, &r)
	assert.Equal(t, paid(12), state)
	assert.ErrorContains(t, r.joined(), "55P03")
	assert.ErrorContains(t, r.joined(), "keep the snapshot balance of account/1")
	require.NoError(t, tx.Rollback(b.ctx))
	b.load(b.Pool, 1, &r)
	assert.Equal(t, 1, b.int("select count(*) from rouse_snapshots"))
}

// A value that JSON cannot hold, in a type that it can.
func TestSnapshot_AStateThatDoesNotComeBackAsItWasIsNotKept(t *testing.T) {
	t.Parallel()
	type lines struct {
		Cents float64
		Lines map[string]int `json:",omitempty"`
	}
	for name, tc := range map[string]struct {
		state lines
		want  string
	}{
		"no number":    {lines{Cents: math.NaN()}, "unsupported value"},
		"an empty map": {lines{Lines: map[string]int{}}, "does not come back from JSON as it was"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.long(1, 2)
			var r reports
			_, version, err := aggregate.Load(b.ctx, b.Pool, account, func(lines, any) lines { return tc.state }, aggregate.Events(known),
				aggregate.Snapshot("lines", 1), aggregate.SnapshotEvery(1), aggregate.Report(r.add))
			require.NoError(t, err)
			assert.EqualValues(t, 2, version)
			assert.ErrorContains(t, r.joined(), tc.want)
			assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
		})
	}
}

func TestSnapshot_NegativeEveryUsesAndMakesNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.long(1, 12)
	options := []aggregate.Option{aggregate.Events(known), aggregate.Snapshot("balance", 1)}
	_, _, err := aggregate.Load(b.ctx, b.Pool, account, fold, append(options, aggregate.SnapshotEvery(-1))...)
	require.NoError(t, err)
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))
	_, _, err = aggregate.Load(b.ctx, b.Pool, account, fold, append(options, aggregate.SnapshotEvery(1))...)
	require.NoError(t, err)
	b.exec(`update rouse_snapshots set state = '{"Cents": 5, "Events": 3}'`)
	state, _, err := aggregate.Load(b.ctx, b.Pool, account, fold, append(options, aggregate.SnapshotEvery(-1))...)
	require.NoError(t, err)
	assert.Equal(t, balance{5, 3}, state)
}
