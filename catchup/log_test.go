package catchup_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

func (b *bundle) migrate(pool *pgxpool.Pool) {
	b.t.Helper()
	conn, err := pool.Acquire(b.ctx)
	require.NoError(b.t, err)
	defer conn.Release()
	_, err = migrations.Up(b.ctx, conn.Conn())
	require.NoError(b.t, err)
}

func TestOpenRefusesASubscriber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.Conn(t)
	// A subscription without a publisher, and the row that one with a publisher would have made.
	name := pgx.Identifier{"sub_" + b.Name}.Sanitize()
	for _, sql := range []string{
		"create subscription " + name + " connection '' publication nobody with (connect = false)",
		"set allow_system_table_mods = on",
		"insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 'events'::regclass, 'r' from pg_subscription where subdbid = (select oid from pg_database where datname = current_database())",
	} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	_, err := catchup.Open(b.ctx, b.Pool)
	require.ErrorIs(t, err, catchup.ErrSource)
	require.ErrorContains(t, err, "read at the publisher")
	for _, sql := range []string{"alter subscription " + name + " set (slot_name = none)", "drop subscription " + name} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	_, err = catchup.Open(b.ctx, b.Pool)
	require.NoError(t, err)
}

// A role that may read events but not their sequence must get an error: without the head, a log would look empty.
func TestRoleWithoutTheSequenceGetsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 3)
	role := pgx.Identifier{"role_" + b.Name}.Sanitize()
	b.exec("create role " + role + " login password '" + testdb.Password + "'")
	b.exec("grant select on all tables in schema public to " + role)
	t.Cleanup(func() { b.exec("drop owned by " + role + "; drop role " + role) })
	pool := b.pool(pgx.QueryExecModeCacheStatement, 1, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.User, cfg.ConnConfig.Password = "role_"+b.Name, testdb.Password
	})
	t.Cleanup(pool.Reset)

	_, err := b.reader(pool, 0).Next(b.ctx, 10)
	require.Error(t, err)
	var denied *pgconn.PgError
	if !strings.Contains(err.Error(), catchup.ErrSequence.Error()) {
		require.ErrorAs(t, err, &denied)
		require.Equal(t, "42501", denied.Code)
	}
	require.ErrorContains(t, err, "sequence")

	b.exec("grant select on all sequences in schema public to " + role)
	found, _ := b.next(b.reader(pool, 0), 10)
	require.Len(t, found, 3)
}

func TestTokenIsTheSameForEverybodyUntilItIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("delete from rouse_incarnation") // as a crash does
	var wg sync.WaitGroup
	tokens := make([]catchup.Token, 6)
	errs := make([]error, len(tokens))
	for i := range tokens {
		wg.Go(func() { tokens[i], errs[i] = catchup.CurrentToken(b.ctx, b.Pool) })
	}
	wg.Wait()
	for i := range tokens {
		require.NoError(t, errs[i])
		require.Equal(t, tokens[0], tokens[i])
	}
	require.NotEqual(t, b.token, tokens[0])
	_, err := b.reader(b.Pool, 0).Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrIncarnation)
}

func TestLogThatEndsBeforeTheCursorIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 5)
	reader := b.reader(b.Pool, 0)
	found, _ := b.next(reader, 10)
	require.Len(t, found, 5)
	b.exec("truncate events restart identity")
	_, err := reader.Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrChanged, "the caller has to look at the log again")
	require.NoError(t, b.reopen())
	_, err = b.reader(b.Pool, 5).Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrLogBehind)
	b.append(b.Pool, 3)
	_, err = b.reader(b.Pool, 5).Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrLogBehind)
	require.ErrorContains(t, err, "its head is 3 and the checkpoint 5")
}

func TestFloorIsComparedWithTheHeadOfNow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check := func(floor int64) error { return catchup.CheckFloor(b.ctx, b.Pool, b.log, b.token, floor) }
	require.NoError(t, check(0))
	require.ErrorIs(t, check(1), catchup.ErrLogBehind)
	b.append(b.Pool, 5)
	require.NoError(t, check(5))
	require.ErrorIs(t, check(6), catchup.ErrLogBehind)
	b.append(b.Pool, 1)
	require.NoError(t, check(6))
	b.exec("truncate events restart identity")
	require.ErrorIs(t, check(6), catchup.ErrChanged, "the caller has to look at the log again")
	require.NoError(t, b.reopen())
	require.ErrorIs(t, check(6), catchup.ErrLogBehind)
}

// TRUNCATE .. RESTART IDENTITY and a refill beyond the old head in one transaction: the head alone shows nothing.
func TestLogThatIsBegunAnewIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 5)
	reader := b.reader(b.Pool, 0)
	found, _ := b.next(reader, 10)
	require.Len(t, found, 5)
	last, err := catchup.LastVisible(b.ctx, b.Pool, 100)
	require.NoError(t, err)
	require.NoError(t, catchup.CheckMarks(b.ctx, b.Pool, b.token, []catchup.Mark{last}))
	tx := b.begin(pgx.ReadCommitted)
	_, err = tx.Exec(b.ctx, "truncate events restart identity")
	require.NoError(t, err)
	b.append(tx, 8)
	require.NoError(t, tx.Commit(b.ctx))
	_, err = reader.Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrChanged)
	require.ErrorIs(t, catchup.CheckMarks(b.ctx, b.Pool, b.token, []catchup.Mark{last}), catchup.ErrLogReplaced)
	require.ErrorIs(t, catchup.CheckMarks(b.ctx, b.Pool, "another", []catchup.Mark{last}), catchup.ErrIncarnation, "another history proves nothing")
	b.exec("delete from events where global_position = 5")
	require.NoError(t, catchup.CheckMarks(b.ctx, b.Pool, b.token, []catchup.Mark{last}), "nothing can be said of an event that is gone")
	b.exec("vacuum full events")
	require.NoError(t, b.reopen())
	before := b.log
	b.exec("vacuum full events")
	require.NoError(t, b.reopen())
	require.Equal(t, before, b.log, "VACUUM FULL changes nothing of the log")
}

// A sequence that is made to cache values, or to count otherwise, while a reader runs: nothing is handed out until it is mended.
func TestSequenceThatIsAlteredWhileReadingHandsNothingOut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ alter, says, mend string }{
		{"set cache 20", "caches 20 values", "set cache 1"},
		{"set increment 2", "its increment is 2", "set increment 1"},
	} {
		t.Run(tc.alter, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(b.Pool, 3)
			reader := b.reader(b.Pool, 0)
			b.next(reader, 10)
			b.exec("alter table events alter global_position " + tc.alter)
			b.append(b.Pool, 1)
			_, err := reader.Next(b.ctx, 10)
			require.ErrorIs(t, err, catchup.ErrChanged)
			err = b.reopen()
			require.ErrorIs(t, err, catchup.ErrSequence)
			require.ErrorContains(t, err, tc.says)
			b.exec("alter table events alter global_position " + tc.mend)
			require.NoError(t, b.reopen())
		})
	}
}

// An event with a position that the sequence has not given out: a restore without the sequence, or a position of its own.
func TestPositionAboveTheSequenceIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 1)
	b.exec(`insert into events (global_position, aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		overriding system value values (1000, 't', 'restored', 1, 'e', '{}')`)
	reader := b.reader(b.Pool, 0)
	found, _ := b.next(reader, 10)
	require.Equal(t, []int64{1}, found)
	_, err := reader.Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrSequence)
	require.ErrorContains(t, err, "select setval")
	b.exec("select setval(pg_get_serial_sequence('events', 'global_position'), (select max(global_position) from events))")
	found, _ = b.next(b.reader(b.Pool, 1), 10)
	require.Equal(t, []int64{1000}, found)
}

// Rows that row level security hides are never passed over: the role is refused, and a read raises.
func TestRowLevelSecurityHidesNothingInSilence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 3)
	role := b.role()
	reader := b.reader(role, 0)
	b.exec("alter table events enable row level security")
	_, err := reader.Next(b.ctx, 10)
	require.ErrorContains(t, err, "row-level security")
	_, err = catchup.LastVisible(b.ctx, role, 100)
	require.ErrorContains(t, err, "row-level security")
	_, err = catchup.Open(b.ctx, role)
	require.ErrorIs(t, err, catchup.ErrHidden)
	b.exec("alter table events disable row level security")
	found, _ := b.next(b.reader(role, 0), 10)
	require.Len(t, found, 3)
}

func TestLastVisibleIsNeverBeyondWhatWasAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	last := func(upTo int64) int64 {
		last, err := catchup.LastVisible(b.ctx, b.Pool, upTo)
		require.NoError(t, err)
		return last.Position
	}
	require.Zero(t, last(100))
	at := b.append(b.Pool, 3)
	dead := b.begin(pgx.ReadCommitted)
	b.append(dead, 5)
	require.NoError(t, dead.Rollback(b.ctx))
	require.Equal(t, at[2], last(8), "not the rolled back positions above it")
	require.Equal(t, at[1], last(2))
}

// The positions of a log may begin and jump anywhere. The low water is folded into 40 bits, and must come out right on both
// sides of every power of two that matters.
func TestPositionsBeyondEveryWidth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const sequence = "pg_get_serial_sequence('events', 'global_position')"
	reader := b.reader(b.Pool, 0)
	var cursor int64
	for _, bits := range []int{31, 32, 39, 40, 41, 50, 62} {
		edge := int64(1) << bits
		t.Run(fmt.Sprintf("2^%d", bits), func(t *testing.T) {
			b.exec("select setval("+sequence+", $1)", edge-3) // and the last appended position was far below
			slow := b.begin(pgx.ReadCommitted)
			hole := b.append(slow, 2)
			require.Equal(t, edge-2, hole[0])
			above := b.append(b.Pool, 4)
			require.Greater(t, above[3], edge)
			found, batch := b.leapTo(reader)
			require.Empty(t, found, "what is above an open append must wait")
			require.Equal(t, edge-3, batch.Settled)
			require.NoError(t, slow.Commit(b.ctx))
			found, batch = b.next(reader, 100)
			require.Equal(t, append(hole, above...), found)
			require.Equal(t, above[3], batch.To)
			require.Greater(t, batch.To, cursor)
			cursor = batch.To
		})
	}
}

// leapTo reads until there is nothing more to read at once, and says that it did not take many reads, however far it was.
func (b *bundle) leapTo(r *catchup.Reader) ([]int64, catchup.Batch) {
	b.t.Helper()
	for range 12 {
		found, batch := b.next(r, 100)
		if len(found) > 0 || !batch.More {
			return found, batch
		}
	}
	require.Fail(b.t, "a stretch without events must be leapt over")
	return nil, catchup.Batch{}
}

// RESTART leaves a sequence that has no last value until it is used. The first append's key then comes from where the sequence
// begins: a key of 0 is unfolded wrongly from 2^39 on, and what is above the open append was handed out.
func TestSequenceThatIsRestartedAhead(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{31, 32, 38, 40, 41, 62} {
		t.Run(fmt.Sprintf("2^%d", bits), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(fmt.Sprintf("alter table events alter global_position restart with %d", int64(1)<<bits-2))
			require.NoError(t, b.reopen())
			slow := b.begin(pgx.ReadCommitted)
			hole := b.append(slow, 1)
			above := b.append(b.Pool, 4)
			reader := b.reader(b.Pool, 0)
			found, batch := b.leapTo(reader)
			require.Empty(t, found)
			require.True(t, batch.Blocked || batch.To < hole[0])
			require.NoError(t, slow.Commit(b.ctx))
			found, _ = b.leapTo(reader)
			require.Equal(t, append(hole, above...), found)
		})
	}
}
