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
	b.exec("create role " + role + " login")
	b.exec("grant select on all tables in schema public to " + role)
	t.Cleanup(func() { b.exec("drop owned by " + role + "; drop role " + role) })
	pool := b.pool(pgx.QueryExecModeCacheStatement, 1, func(cfg *pgxpool.Config) { cfg.ConnConfig.User = "role_" + b.Name })
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
	require.ErrorIs(t, err, catchup.ErrLogBehind)
	b.append(b.Pool, 3)
	_, err = reader.Next(b.ctx, 10)
	require.ErrorIs(t, err, catchup.ErrLogBehind)
	require.ErrorContains(t, err, "its head is 3 and the checkpoint 5")
}

func TestLastVisibleIsNeverBeyondWhatWasAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	last := func(upTo int64) int64 {
		position, err := catchup.LastVisible(b.ctx, b.Pool, upTo)
		require.NoError(t, err)
		return position
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
