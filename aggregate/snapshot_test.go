package aggregate_test

import (
	"context"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/retention"
)

// keeper is a bundle that loads its account with snapshots, and what was reported of them.
type keeper struct {
	*testBundle

	mu   sync.Mutex
	errs []error // guarded by mu
}

// setupPaid returns a keeper with an account that has been paid one cent by each of that many events.
func setupPaid(t *testing.T, events int) *keeper {
	t.Helper()
	b := &keeper{testBundle: setup(t)}
	if events > 0 {
		b.long(1, events)
	}
	return b
}

func (b *keeper) report(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, err)
}

// reported is all that was reported, as one error.
func (b *keeper) reported() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.errs...)
}

// load loads the account with snapshots of a version every 10 events, and returns how many events were read for it.
func (b *keeper) load(db aggregate.DB, version int) (state balance, read int) {
	b.t.Helper()
	state, read, err := b.tryLoad(db, version)
	require.NoError(b.t, err)
	return state, read
}

func (b *keeper) tryLoad(db aggregate.DB, version int) (state balance, read int, err error) {
	counted := func(s balance, e any) balance {
		read++
		return fold(s, e)
	}
	state, _, err = aggregate.Load(b.ctx, db, account, counted, aggregate.Events(known),
		aggregate.Snapshot("balance", version), aggregate.SnapshotEvery(10), aggregate.Report(b.report))
	return state, read, err
}

// paid is the balance after some cents of one each.
func paid(n int) balance { return balance{Cents: int64(n), Events: n} }

func TestSnapshot_OnlyWhatIsBehindItIsRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setupPaid(t, 0)
			pool := b.pool(func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
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
				state, read := b.load(pool, 1)
				assert.Equal(t, paid(tc.to), state)
				assert.Equal(t, tc.read, read)
				assert.Equal(t, tc.snapshot, b.int("select coalesce(max(aggregate_version), 0) from rouse_snapshots"))
			}
			require.NoError(t, b.reported())

			appended, err := b.execute(pool, func(s balance) ([]any, error) { return take(23)(s) }, aggregate.Snapshot("balance", 1))
			require.NoError(t, err)
			assert.EqualValues(t, 24, appended.LastVersion)
		})
	}
}

func TestSnapshot_OneOfAnotherVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	b.load(b.Pool, 1)
	b.exec("update rouse_snapshots set state = '{\"Cents\": 1000000}'")
	state, read := b.load(b.Pool, 2)
	assert.Equal(t, paid(12), state)
	assert.Equal(t, 12, read)
	assert.Equal(t, 2, b.int("select count(*) from rouse_snapshots"), "each release has its own")
	_, read = b.load(b.Pool, 2)
	assert.Zero(t, read)
	require.NoError(t, b.reported())
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
			b := setupPaid(t, 12)
			b.load(b.Pool, 1)
			b.exec(sql)
			require.NoError(t, b.reported())
			n := b.int("select count(*) from events")
			state, read := b.load(b.Pool, 1)
			assert.Equal(t, paid(n), state)
			assert.Equal(t, n, read)
			require.Error(t, b.reported())
			assert.ErrorContains(t, b.reported(), "use the snapshot balance of account/1")
			assert.NotContains(t, b.reported().Error(), "s3cret")
			if n > 0 {
				_, read = b.load(b.Pool, 1)
				assert.Zero(t, read, "another one has taken its place")
			}
		})
	}
}

func TestSnapshot_NobodyNeedsTheTable(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	b.exec("drop table rouse_snapshots")
	state, _ := b.load(b.Pool, 1)
	assert.Equal(t, paid(12), state)
	assert.ErrorContains(t, b.reported(), "read the snapshot balance of account/1")
	tx := b.begin(pgx.ReadCommitted)
	state, _ = b.load(tx, 1)
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
	b := &keeper{testBundle: &testBundle{DB: testdb.At(t, 18), t: t, ctx: ctx}}
	b.long(1, 12)
	state, _ := b.load(b.Pool, 1)
	assert.Equal(t, paid(12), state)
	require.Error(t, b.reported())
}

// In the caller's transaction its own events are seen, which may be rolled back: so none is made there, and those that are there are used.
func TestSnapshot_NoneIsMadeOfWhatMayBeRolledBack(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	tx := b.begin(pgx.ReadCommitted)
	for i := range 15 {
		_, err := b.execute(tx, pay(1), aggregate.Snapshot("balance", 1), aggregate.SnapshotEvery(1))
		require.NoError(t, err, i)
	}
	state, read := b.load(tx, 1)
	assert.Equal(t, paid(27), state)
	assert.Equal(t, 27, read)
	require.NoError(t, tx.Rollback(b.ctx))
	assert.Zero(t, b.int("select count(*) from rouse_snapshots"))

	b.load(b.Pool, 1)
	_, read = b.load(b.begin(pgx.RepeatableRead), 1)
	assert.Zero(t, read)
	require.NoError(t, b.reported())
}

// Every snapshot that is ever in the table is the fold of the events up to it, whatever is appended meanwhile.
func TestSnapshot_OneThatIsMadeBesideAppendsIsExact(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 0)
	pool := b.pool(func(*pgxpool.Config) {})
	b.exec(`create table seen (version bigint, event_id uuid, state json);
		create function note() returns trigger language plpgsql as $$
		begin insert into seen values (new.aggregate_version, new.event_id, new.state); return null; end $$;
		create trigger note after insert or update on rouse_snapshots for each row execute function note()`)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				_, err := b.execute(pool, pay(int64(w*1000+i)), aggregate.Tries(-1), aggregate.Snapshot("balance", 1), aggregate.SnapshotEvery(1), aggregate.Report(b.report))
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
	if err := b.reported(); err != nil {
		assert.ErrorContains(t, err, "55P03", "nothing but waits that were not worth it")
	}
}

// What deploy/sql/roles.sql grants to those who append is enough, and less than that is no reason to fail.
func TestSnapshot_NeedsNoMoreRightsThanAnAppenderHas(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
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
			state, _ := b.load(conn, 1)
			assert.Equal(t, paid(12), state)
			assert.ErrorContains(t, b.reported(), "42501")
		}
	}
	b.errs = nil
	b.load(conn, 1)
	_, read := b.load(conn, 1)
	assert.Zero(t, read)
	b.long(13, 30)
	b.load(conn, 1)
	assert.Equal(t, 30, b.int("select aggregate_version from rouse_snapshots"))
	_, err = b.execute(conn, take(30), aggregate.Snapshot("balance", 1))
	require.NoError(t, err)
	require.NoError(t, b.reported())
}

// A snapshot that cannot be kept now is not worth a wait: the command goes on.
func TestSnapshot_HoldsNoCommandUp(t *testing.T) {
	t.Parallel()
	b := setupPaid(t, 12)
	tx := b.begin(pgx.ReadCommitted)
	_, err := tx.Exec(b.ctx, "lock table rouse_snapshots in share row exclusive mode")
	require.NoError(t, err)
	state, _ := b.load(b.Pool, 1)
	assert.Equal(t, paid(12), state)
	assert.ErrorContains(t, b.reported(), "55P03")
	assert.ErrorContains(t, b.reported(), "keep the snapshot balance of account/1")
	require.NoError(t, tx.Rollback(b.ctx))
	b.load(b.Pool, 1)
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
			b := setupPaid(t, 2)
			_, version, err := aggregate.Load(b.ctx, b.Pool, account, func(lines, any) lines { return tc.state }, aggregate.Events(known),
				aggregate.Snapshot("lines", 1), aggregate.SnapshotEvery(1), aggregate.Report(b.report))
			require.NoError(t, err)
			assert.EqualValues(t, 2, version)
			assert.ErrorContains(t, b.reported(), tc.want)
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
