package catchup_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// naive are the three questions of a read, asked on a connection of its own in whatever order a test likes.
type naive struct {
	*bundle
	tx pgx.Tx
}

func (n naive) rows() []int64 {
	n.t.Helper()
	rows, err := n.tx.Query(n.ctx, "select global_position from events order by global_position")
	require.NoError(n.t, err)
	return n.positions(rows)
}

func (n naive) one(sql string) int64 {
	n.t.Helper()
	var out int64
	require.NoError(n.t, n.tx.QueryRow(n.ctx, sql).Scan(&out))
	return out
}

func (n naive) head() int64 {
	return n.one("select pg_sequence_last_value(pg_get_serial_sequence('events', 'global_position')::regclass)")
}

// holders is how many transactions hold K. With none, everything up to the head is settled.
func (n naive) holders() int64 {
	return n.one(`select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock'
		and database = (select oid from pg_database where datname = current_database())
		and classid::bigint >> 8 = 'events'::regclass::oid::bigint & 16777215`)
}

// What a low water settles is good for rows that are read after it. Rows that were read before it may lack an event that has
// committed in between, and the low water then says that it will never come.
func TestRowsAreReadAfterTheLowWater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	slow := b.begin(pgx.ReadCommitted)
	hole := b.append(slow, 1)[0]
	above := b.append(b.Pool, 1)[0]

	found, batch := b.next(reader, 100)
	require.Empty(t, found)
	require.True(t, batch.Blocked)
	require.Less(t, batch.Settled, hole)

	old := naive{b, b.begin(pgx.ReadCommitted)}
	rows := old.rows()
	require.NoError(t, slow.Commit(b.ctx))
	require.Zero(t, old.holders())
	require.GreaterOrEqual(t, old.head(), above)
	require.Equal(t, []int64{above}, rows, "settled up to the head, the naive reader hands out the later event and has lost the earlier")

	found, batch = b.next(reader, 100)
	require.Equal(t, []int64{hole, above}, found)
	require.False(t, batch.Blocked)
}

// The same with one snapshot for all statements, as REPEATABLE READ has it, where the order of the statements is of no help.
// The reader must begin READ COMMITTED whatever the default is. It is held between its first and its second statement.
func TestEachStatementOfAReadHasItsOwnSnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("alter database " + pgx.Identifier{b.Name}.Sanitize() + " set default_transaction_isolation = 'repeatable read'")
	pool := b.pool(pgx.QueryExecModeCacheStatement, 1, nil)
	reader := b.reader(pool, 0)
	b.next(reader, 100) // its statements are prepared now

	slow := b.begin(pgx.ReadCommitted)
	hole := b.append(slow, 1)[0]
	above := b.append(b.Pool, 1)[0]

	old := naive{b, b.begin("")} // as the default is
	old.head()
	gate := b.begin(pgx.ReadCommitted)
	_, err := gate.Exec(b.ctx, "lock table pg_trigger in access exclusive mode") // which the low water looks at
	require.NoError(t, err)
	type outcome struct {
		batch catchup.Batch
		err   error
	}
	read := make(chan outcome, 1)
	go func() {
		batch, err := reader.Next(b.ctx, 100)
		read <- outcome{batch, err}
	}()
	b.waitsForLock()
	require.NoError(t, slow.Commit(b.ctx))
	require.NoError(t, gate.Rollback(b.ctx))

	require.Zero(t, old.holders())
	require.Equal(t, []int64{above}, old.rows(), "one snapshot for all must lose the slow commit, or nothing is shown")
	got := <-read
	require.NoError(t, got.err)
	require.Len(t, got.batch.Events, 2)
	require.Equal(t, hole, got.batch.Events[0].GlobalPosition)
}

func (b *bundle) waitsForLock() {
	b.t.Helper()
	watch := b.Conn(b.t)
	testdb.Eventually(b.t, patience, "the reader to wait between two statements", func() (bool, error) {
		var waits bool
		err := watch.QueryRow(b.ctx, "select exists (select from pg_locks where not granted and relation = 'pg_trigger'::regclass)").Scan(&waits)
		return waits, err
	})
}

// Rows that are read later than the low water may be more than it knows of. What follows without a hole is handed out, and
// what does not waits.
func TestRowsThatAreYoungerThanTheHeadAreJudgedByContiguity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(pgx.QueryExecModeCacheStatement, 1, nil)
	reader := b.reader(pool, 0)
	first := b.append(b.Pool, 1)
	b.next(reader, 100)

	gate := b.begin(pgx.ReadCommitted)
	_, err := gate.Exec(b.ctx, "lock table events in access exclusive mode") // holds the third statement, when the head is known
	require.NoError(t, err)
	read := make(chan catchup.Batch, 1)
	go func() {
		batch, err := reader.Next(b.ctx, 100)
		if err == nil {
			read <- batch
		}
		close(read)
	}()
	watch := b.Conn(t)
	testdb.Eventually(t, patience, "the reader to wait for events", func() (bool, error) {
		var waits bool
		err := watch.QueryRow(b.ctx, "select exists (select from pg_locks where not granted and relation = 'events'::regclass)").Scan(&waits)
		return waits, err
	})
	second := b.append(gate, 1)
	_, err = gate.Exec(b.ctx, "savepoint a")
	require.NoError(t, err)
	b.append(gate, 1)
	_, err = gate.Exec(b.ctx, "rollback to savepoint a") // a hole that the head and the low water are too old for
	require.NoError(t, err)
	third := b.append(gate, 1)
	require.NoError(t, gate.Commit(b.ctx))
	batch, ok := <-read
	require.True(t, ok)
	require.Equal(t, first[0], batch.Head, "the head must be older than the rows, or nothing is shown")
	require.Len(t, batch.Events, 1)
	require.Equal(t, second[0], batch.Events[0].GlobalPosition)
	require.True(t, batch.Blocked)
	require.Equal(t, second[0], batch.To)
	found, _ := b.next(reader, 100)
	require.Equal(t, third, found)
}

// A hole in the middle of a batch ends it there; the rest comes when the hole is filled or dead.
func TestHoleEndsABatch(t *testing.T) {
	t.Parallel()
	for _, slots := range []string{"all", "some"} {
		t.Run(slots, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			set := allSlots()
			if slots == "some" {
				set = b.slotsOfEverythingBut(1023)
			}
			reader := catchup.NewReader(b.Pool, b.log, b.token, set, 0)
			below := b.appendNamed(b.Pool, "a", "b")
			slow, dead := b.begin(pgx.ReadCommitted), b.begin(pgx.ReadCommitted)
			hole := b.appendNamed(slow, "c")
			between := b.appendNamed(b.Pool, "d")
			b.appendNamed(dead, "e")
			above := b.appendNamed(b.Pool, "f", "g")

			found, batch := b.next(reader, 100)
			require.Equal(t, below, found)
			require.True(t, batch.Blocked)
			require.Equal(t, below[1], batch.To)
			require.Equal(t, 2, batch.Holders)
			require.NoError(t, slow.Commit(b.ctx))
			found, batch = b.next(reader, 100)
			require.Equal(t, append(hole, between...), found)
			require.True(t, batch.Blocked)
			require.NoError(t, dead.Rollback(b.ctx))
			found, batch = b.next(reader, 100)
			require.Equal(t, above, found)
			require.False(t, batch.Blocked)
			require.Equal(t, above[1], batch.To)
		})
	}
}

// What waits behind a hole may lie beyond what one read looks through. The reader must know that something waits, since nobody
// notifies when the hole turns out to be dead.
func TestEventFarBehindAHoleIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	slow := b.begin(pgx.ReadCommitted)
	b.append(slow, 1)
	b.exec("select setval(pg_get_serial_sequence('events', 'global_position'), 500000)")
	above := b.append(b.Pool, 1)
	found, batch := b.next(reader, 100)
	require.Empty(t, found)
	require.True(t, batch.Blocked)
	require.NoError(t, slow.Rollback(b.ctx))
	found, _ = b.leapTo(reader)
	require.Equal(t, above, found)
}

// slotsOfEverythingBut is a set that needs the filtered read although all of a test's events are in it.
func (b *bundle) slotsOfEverythingBut(slot int) catchup.SlotSet {
	b.t.Helper()
	var partitions []int
	for p := range catchup.Slots {
		if p != slot {
			partitions = append(partitions, p)
		}
	}
	set := catchup.SlotsOf(partitions, catchup.Slots)
	require.False(b.t, set.Full())
	return set
}

// appendNamed appends one event to each of some aggregates, in one statement.
func (b *bundle) appendNamed(q querier, aggregates ...string) []int64 {
	b.t.Helper()
	rows, err := q.Query(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', a, 1, 'e', '{}' from unnest($1::text[]) a returning global_position`, aggregates)
	require.NoError(b.t, err)
	return b.positions(rows)
}

// A read in a mode for poolers sends its statements one by one; nothing of what it sees may change by that.
func TestReaderWorksInEveryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool := b.pool(mode, 2, nil)
			full, some := b.reader(pool, 0), catchup.NewReader(pool, b.log, b.token, b.slotsOfEverythingBut(1023), 0)
			first := b.appendNamed(b.Pool, "a", "b", "c")
			slow := b.begin(pgx.ReadCommitted)
			hole := b.appendNamed(slow, "d")
			last := b.appendNamed(b.Pool, "e")
			for _, r := range []*catchup.Reader{full, some} {
				found, batch := b.next(r, 2)
				require.Equal(t, first[:2], found)
				require.True(t, batch.More)
				found, batch = b.next(r, 2)
				require.Equal(t, first[2:], found)
				require.True(t, batch.More)
				found, batch = b.next(r, 2)
				require.Empty(t, found)
				require.True(t, batch.Blocked)
				require.True(t, batch.Push)
			}
			require.NoError(t, slow.Commit(b.ctx))
			for _, r := range []*catchup.Reader{full, some} {
				found, _ := b.next(r, 2)
				require.Equal(t, append(hole, last...), found)
			}
			b.exec("alter table events disable trigger rouse_append_before")
			_, err := full.Next(b.ctx, 2)
			require.ErrorIs(t, err, catchup.ErrUnguarded)
			b.exec("alter table events enable always trigger rouse_append_before")
			b.knowsAnother()
			_, err = full.Next(b.ctx, 2)
			require.ErrorIs(t, err, catchup.ErrUnguarded, "a trigger that looks at another sequence guards nothing")
			require.ErrorIs(t, b.reopen(), catchup.ErrUnguarded)
			b.knows("events_global_position_seq")
			b.exec("delete from rouse_incarnation")
			_, err = full.Next(b.ctx, 2)
			require.ErrorIs(t, err, catchup.ErrIncarnation)
			require.EqualValues(t, 0, pool.Stat().NewConnsCount()-1, "an error does not cost the connection")
		})
	}
}

// knows gives the append trigger another sequence.
func (b *bundle) knows(sequence string) {
	b.t.Helper()
	b.exec(`do $$ begin execute format('create or replace trigger rouse_append_before before insert on events
		for each statement execute function rouse_append_before(%L, %L)', 'events'::regclass::oid, '` + sequence + `'::regclass::oid); end $$`)
	b.exec("alter table events enable always trigger rouse_append_before")
}

// knowsAnother has the append trigger look at a sequence that is not that of events.
func (b *bundle) knowsAnother() {
	b.t.Helper()
	b.exec("create sequence if not exists another")
	b.knows("another")
}

// A prepared transaction holds K without a session. It holds back what is above it until it ends.
func TestPreparedTransactionHoldsItsPlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	slow := b.begin(pgx.ReadCommitted)
	hole := b.append(slow, 1)
	gid := b.Name
	_, err := slow.Exec(b.ctx, "prepare transaction '"+gid+"'")
	require.NoError(t, err)
	above := b.append(b.Pool, 1)
	found, batch := b.next(reader, 100)
	require.Empty(t, found)
	require.True(t, batch.Blocked)
	b.exec("commit prepared '" + gid + "'")
	found, _ = b.next(reader, 100)
	require.Equal(t, append(hole, above...), found)
}

// Two logs in one database have locks of their own.
func TestOpenAppendOfAnotherSchemaDelaysNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.secondSchema()
	slow, err := other.Begin(b.ctx)
	require.NoError(t, err)
	defer func() { _ = slow.Rollback(context.WithoutCancel(b.ctx)) }()
	b.append(slow, 1)
	above := b.append(b.Pool, 3)
	found, batch := b.next(b.reader(b.Pool, 0), 100)
	require.Equal(t, above, found)
	require.Zero(t, batch.Holders)
}

// secondSchema migrates a second schema in the same database and returns a pool that works in it.
func (b *bundle) secondSchema() *pgxpool.Pool {
	b.t.Helper()
	b.exec("create schema second")
	pool := b.pool(pgx.QueryExecModeCacheStatement, 2, func(cfg *pgxpool.Config) { cfg.ConnConfig.RuntimeParams["search_path"] = "second" })
	b.migrate(pool)
	return pool
}
