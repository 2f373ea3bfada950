package eventstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// A position is taken long before it is seen. The decision is made while an append with a lower position than the last one read is still open.
func TestAppendIf_EventOfASlowCommitIsNotMissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	slow := b.begin(t, b.Pool, pgx.ReadCommitted)
	late, err := eventstore.AppendTagged(b.ctx, slow, eventstore.Stream{Type: "slow", ID: "1"}, eventstore.Any(), tagged("Joined", "course:1"))
	require.NoError(t, err)
	b.tag(t, "Joined", "student:7")

	seen, condition := b.read(t, all("course:1"), all("student:7"))
	require.Len(t, seen, 1)
	require.Less(t, late.LastPosition(), seen[0], "the slow one is below what was read")
	require.NoError(t, slow.Commit(b.ctx))

	var naive bool // nothing came after the last position that was read
	require.NoError(t, b.Pool.QueryRow(b.ctx, `select not exists (select from event_tags t join events e using (event_id)
		where t.tag in ('course:1', 'student:7') and e.global_position > $1)`, seen[0]).Scan(&naive))
	require.True(t, naive, "a condition over positions holds, although there is an event that was not seen")

	err = b.decide(condition, order, tagged("Joined", "course:1", "student:7"))
	var conflict *eventstore.ConditionError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, eventstore.ConditionError{Tag: "course:1", Position: late.LastPosition()}, *conflict)
}

// Plain SQL takes the position before it comes to the tag, so even of one tag the positions become visible out of order.
func TestAppendIf_EventThatWasTaggedBehindAnotherIsNotMissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	slow := b.begin(t, b.Pool, pgx.ReadCommitted)
	low, id := b.plain(t, slow, "Joined")
	high, _ := b.plain(t, b.Pool, "Joined", "course:1")
	seen, condition := b.read(t, all("course:1"))
	require.Equal(t, []int64{high}, seen)
	require.Less(t, low, high)
	_, err := slow.Exec(b.ctx, "insert into event_tags (tag, event_id) values ('course:1', $1::uuid)", id)
	require.NoError(t, err)
	require.NoError(t, slow.Commit(b.ctx))
	require.ErrorIs(t, b.decide(condition, order, tagged("Joined", "course:1")), eventstore.ErrConflict)
}

// Both have read the same. The second waits for the first, and then sees what it has committed.
func TestAppendIf_OfTwoThatDecideAtOnceOneIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, condition := b.read(t, all("course:1"))
	first := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.AppendIf(b.ctx, first, condition, eventstore.Stream{Type: "a", ID: "1"}, tagged("Joined", "course:1"))
	require.NoError(t, err)

	second := b.begin(t, b.Pool, pgx.ReadCommitted)
	done := b.blocked(t, second, func() error {
		_, err := eventstore.AppendIf(b.ctx, second, condition, eventstore.Stream{Type: "a", ID: "2"}, tagged("Joined", "course:1"))
		return err
	})
	require.NoError(t, first.Commit(b.ctx))
	require.ErrorIs(t, <-done, eventstore.ErrConflict)
	require.NoError(t, second.Commit(b.ctx), "the transaction is usable")
	seen, _ := b.read(t, all("course:1"))
	require.Len(t, seen, 1)
}

// blocked runs f, whose transaction has to wait for another, and returns when it does.
func (b *testBundle) blocked(t *testing.T, tx pgx.Tx, f func() error) <-chan error {
	t.Helper()
	done := make(chan error, 1) // so that the goroutine ends even if the test has failed
	pid := tx.Conn().PgConn().PID()
	go func() { done <- f() }()
	b.waitBlocked(t, pid)
	return done
}

// The forms that nearly everybody writes first. Each lets two through where one is allowed; AppendIf does not.
func TestAppendIf_TheNaiveFormsLetTwoThrough(t *testing.T) {
	t.Parallel()
	const insert = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'naive', $1, 1, 'Joined', '{}' `
	const unless = `where not exists (select from events where aggregate_type = 'naive' and event_type = 'Joined')`
	for name, one := range map[string]struct {
		isolation pgx.TxIsoLevel
		lock, sql string
		waits     bool
	}{
		"look and insert in one statement":   {pgx.ReadCommitted, "", insert + unless, false},
		"look and insert in REPEATABLE READ": {pgx.RepeatableRead, "", insert + unless, false},
		// The statement's snapshot is older than the lock that it waits for.
		"lock, look and insert in one statement": {pgx.ReadCommitted, "",
			`with l as materialized (select pg_advisory_xact_lock(1, 1)) ` + insert + "from l " + unless, true},
		// So is the transaction's.
		"lock first, in REPEATABLE READ": {pgx.RepeatableRead, "select pg_advisory_xact_lock(1, 2)", insert + unless, true},
		// It protects those only who do the same.
		"SERIALIZABLE beside one that is not": {pgx.Serializable, "", insert + unless, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			run := func(tx pgx.Tx, id string) error {
				if one.lock != "" {
					if _, err := tx.Exec(b.ctx, one.lock); err != nil {
						return err
					}
				}
				_, err := tx.Exec(b.ctx, one.sql, id)
				return err
			}
			first, second := b.begin(t, b.Pool, pgx.ReadCommitted), b.begin(t, b.Pool, one.isolation)
			require.NoError(t, run(first, "1"))
			if one.waits {
				done := b.blocked(t, second, func() error { return run(second, "2") })
				require.NoError(t, first.Commit(b.ctx))
				require.NoError(t, <-done)
			} else {
				require.NoError(t, run(second, "2"))
				require.NoError(t, first.Commit(b.ctx))
			}
			require.NoError(t, second.Commit(b.ctx))
			require.Equal(t, 2, b.events(t), "two, where one is allowed")
		})
	}
}

func TestAppendIf_WaitsForAPlainWriterOfTheTag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tag := range []string{"course:1", "student:7"} {
		for _, own := range []string{tag, "more"} { // the event has the tag too, or the tag is only asked for
			_, condition := b.read(t, all("course:1"), all("student:7"))
			writer := b.begin(t, b.Pool, pgx.RepeatableRead)
			b.plain(t, writer, "Joined", tag, "z")
			tx := b.begin(t, b.Pool, pgx.ReadCommitted)
			done := b.blocked(t, tx, func() error {
				_, err := eventstore.AppendIf(b.ctx, tx, condition, order, tagged("Joined", own))
				return err
			})
			require.NoError(t, writer.Commit(b.ctx))
			require.ErrorIs(t, <-done, eventstore.ErrConflict)
			require.NoError(t, tx.Rollback(b.ctx))
		}
	}
}

// The locks of what is written are held alone from the beginning. If they were shared first, two would be past their conditions at once, and
// then wait for each other.
func TestAppendIf_OfTwoUnderWayNoneIsEndedByADeadlock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, condition := b.read(t, all("course:1"))
	holder := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.Append(b.ctx, holder, order, eventstore.NoStream(), some(1)...)
	require.NoError(t, err)

	first := b.begin(t, b.Pool, pgx.ReadCommitted)
	one := b.blocked(t, first, func() error { // by the stream, behind its condition
		_, err := eventstore.AppendIf(b.ctx, first, condition, order, tagged("Joined", "course:1"))
		return err
	})
	second := b.begin(t, b.Pool, pgx.ReadCommitted)
	two := b.blocked(t, second, func() error {
		_, err := eventstore.AppendIf(b.ctx, second, condition, eventstore.Stream{Type: "a", ID: "2"}, tagged("Joined", "course:1"))
		return err
	})
	require.NoError(t, holder.Rollback(b.ctx))
	require.NoError(t, <-one)
	require.NoError(t, first.Commit(b.ctx))
	require.ErrorIs(t, <-two, eventstore.ErrConflict)
}

// A tag that is only asked for, such as the one of the prices, does not make those wait for each other who ask; who changes it waits for them.
func TestAppendIf_TagsThatAreOnlyReadAreShared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, prices := b.read(t, all("prices"))
	first := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.AppendIf(b.ctx, first, prices, eventstore.Stream{Type: "a", ID: "1"}, tagged("Bought", "course:1"))
	require.NoError(t, err)
	require.NoError(t, b.decide(prices, eventstore.Stream{Type: "a", ID: "2"}, tagged("Bought", "course:2")), "it waits for nobody")

	change := b.begin(t, b.Pool, pgx.ReadCommitted)
	done := b.blocked(t, change, func() error {
		_, err := eventstore.AppendTagged(b.ctx, change, eventstore.Stream{Type: "a", ID: "3"}, eventstore.Any(), tagged("PriceChanged", "prices"))
		return err
	})
	require.NoError(t, first.Commit(b.ctx))
	require.NoError(t, <-done)
	require.NoError(t, change.Commit(b.ctx))
	require.ErrorIs(t, b.decide(prices, eventstore.Stream{Type: "a", ID: "4"}, tagged("Bought", "course:1")), eventstore.ErrConflict)
}

// The key that AppendIf takes is the trigger's, whatever the tag and whichever the schema.
func TestAppendIf_AndTheTriggerTakeOneLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, tag := range []string{"a", "course:42", "Ä€𝄞", strings.Repeat("long ", 200), `"quoted" \ <tag>`} {
		tx := b.begin(t, b.Pool, pgx.ReadCommitted)
		_, err := eventstore.AppendIf(b.ctx, tx, eventstore.NoEvents(all(tag)), eventstore.Stream{Type: "a", ID: fmt.Sprint(i)}, tagged("Joined", tag))
		require.NoError(t, err)
		var locks int
		require.NoError(t, tx.QueryRow(b.ctx, `select count(*) from pg_locks where locktype = 'advisory' and objsubid = 2 and classid = 1919907156
			and pid = pg_backend_pid()`).Scan(&locks))
		require.Equal(t, 1, locks, tag)
		require.NoError(t, tx.Rollback(b.ctx))
	}
}

// Whoever may connect can hold the lock of a tag. That delays; the condition is tested as ever.
func TestAppendIf_AStrangersLockOnlyDelays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, condition := b.read(t, all("course:1"))
	b.tag(t, "Joined", "course:1")
	stranger := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := stranger.Exec(b.ctx, `select pg_advisory_xact_lock(1919907156, (hashtextextended('course:1' collate "C", 'event_tags'::regclass::oid::bigint) >> 32)::int)`)
	require.NoError(t, err)
	require.NoError(t, b.decide(eventstore.NoEvents(all("course:2")), order, tagged("Joined", "course:2")), "others do not wait")
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	done := b.blocked(t, tx, func() error {
		_, err := eventstore.AppendIf(b.ctx, tx, condition, order, tagged("Joined", "course:1"))
		return err
	})
	require.NoError(t, stranger.Rollback(b.ctx))
	require.ErrorIs(t, <-done, eventstore.ErrConflict)
}
