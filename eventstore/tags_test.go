package eventstore_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// tagged is an event of a type with tags.
func tagged(typ string, tags ...string) eventstore.Tagged {
	return eventstore.Tagged{NewEvent: eventstore.NewEvent{Type: typ, Payload: json.RawMessage(`{}`)}, Tags: tags}
}

// all selects the events that have all of the tags.
func all(tags ...string) eventstore.Match { return eventstore.Match{Tags: tags} }

// tag appends an event with tags, without a condition, and commits.
func (b *testBundle) tag(t *testing.T, typ string, tags ...string) eventstore.Appended {
	t.Helper()
	var out eventstore.Appended
	require.NoError(t, pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) (err error) {
		out, err = eventstore.AppendTagged(b.ctx, tx, streamOf(t), eventstore.Any(), tagged(typ, tags...))
		return err
	}))
	return out
}

// read reads and returns the positions of the events.
func (b *testBundle) read(t *testing.T, matches ...eventstore.Match) ([]int64, eventstore.Condition) {
	t.Helper()
	events, condition, err := eventstore.ReadTagged(b.ctx, b.Pool, matches...)
	require.NoError(t, err)
	positions := []int64{}
	for _, e := range events {
		positions = append(positions, e.GlobalPosition)
	}
	return positions, condition
}

// decide appends an event if the condition holds, and commits.
func (b *testBundle) decide(condition eventstore.Condition, stream eventstore.Stream, e eventstore.Tagged) error {
	return pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(b.ctx, tx, condition, stream, e)
		return err
	})
}

func TestReadTagged_ReturnsWhatMatchesInTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	positions := func(appended ...eventstore.Appended) []int64 {
		out := []int64{}
		for _, a := range appended {
			out = append(out, a.Positions...)
		}
		return out
	}
	defined := b.tag(t, "CourseDefined", "course:1")
	joined := b.tag(t, "Joined", "student:7", "course:1", "course:1")
	other := b.tag(t, "Joined", "course:2", "student:7")
	b.append(t, eventstore.Stream{Type: "course", ID: "1"}, eventstore.NoStream(), some(1)...)
	for name, one := range map[string]struct {
		matches []eventstore.Match
		want    []int64
	}{
		"one tag":       {[]eventstore.Match{all("course:1")}, positions(defined, joined)},
		"all tags":      {[]eventstore.Match{all("student:7", "course:1")}, positions(joined)},
		"one of two":    {[]eventstore.Match{all("student:7"), all("course:1")}, positions(defined, joined, other)},
		"types":         {[]eventstore.Match{{Tags: []string{"course:1"}, Types: []string{"Joined", "Left"}}}, positions(joined)},
		"types and not": {[]eventstore.Match{{Tags: []string{"course:1"}, Types: []string{"Left"}}, all("course:2")}, positions(other)},
		"no such tag":   {[]eventstore.Match{all("course:3")}, []int64{}},
	} {
		for _, mode := range modes {
			events, _, err := eventstore.ReadTagged(b.ctx, b.pool(t, mode), one.matches...)
			require.NoError(t, err)
			got := []int64{}
			for _, e := range events {
				got = append(got, e.GlobalPosition)
			}
			require.Equal(t, one.want, got, "%s in mode %s", name, mode)
		}
	}
}

// Each case appends something between the decision and the append.
func TestAppendIf_IsRefusedExactlyIfAnEventThatMatchesHasCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(1)...)
	pools := map[pgx.QueryExecMode]*pgxpool.Pool{}
	for _, mode := range modes {
		pools[mode] = b.pool(t, mode)
	}
	subscribed := eventstore.Match{Tags: []string{"course:1", "student:7"}, Types: []string{"Joined"}}
	for name, one := range map[string]struct {
		between func(t *testing.T)
		refused bool
	}{
		"nothing":                {func(*testing.T) {}, false},
		"the same":               {func(t *testing.T) { b.tag(t, "Joined", "student:7", "course:1", "more") }, true},
		"one of the two tags":    {func(t *testing.T) { b.tag(t, "Joined", "course:1") }, false},
		"another type":           {func(t *testing.T) { b.tag(t, "Left", "student:7", "course:1") }, false},
		"another match":          {func(t *testing.T) { b.tag(t, "Anything", "closed") }, true},
		"no tag":                 {func(t *testing.T) { b.append(t, streamOf(t), eventstore.Any(), some(2)...) }, false},
		"a tag that begins so":   {func(t *testing.T) { b.tag(t, "Anything", "closed:1") }, false},
		"rolled back":            {func(t *testing.T) { b.tagThen(t, pgx.Tx.Rollback, "closed") }, false},
		"two with one each":      {func(t *testing.T) { b.tag(t, "Joined", "course:1"); b.tag(t, "Joined", "student:7") }, false},
		"the same by plain SQL":  {func(t *testing.T) { b.plain(t, b.Pool, "Joined", "course:1", "student:7") }, true},
		"an old event, tagged":   {func(t *testing.T) { b.tagOld(t, "closed") }, true},
		"an old one, half of it": {func(t *testing.T) { b.tagHalf(t, "student:7") }, true},
	} {
		for _, mode := range modes {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				pool := pools[mode]
				if strings.HasSuffix(name, "half of it") {
					b.plain(t, b.Pool, "Joined", "course:1", "half")
				}
				_, condition := b.read(t, subscribed, all("closed"))
				one.between(t)
				before := b.events(t)
				err := pgx.BeginFunc(b.ctx, pool, func(tx pgx.Tx) error {
					_, err := eventstore.AppendIf(b.ctx, tx, condition, streamOf(t), tagged("Joined", "student:7", "course:1"), tagged("Noted"))
					return err
				})
				if !one.refused {
					require.NoError(t, err)
					require.Equal(t, before+2, b.events(t))
					return
				}
				require.ErrorIs(t, err, eventstore.ErrConflict)
				var conflict *eventstore.ConditionError
				require.ErrorAs(t, err, &conflict)
				require.Positive(t, conflict.Position)
				require.Equal(t, before, b.events(t))
			})
		}
	}
}

func (b *testBundle) events(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(b.ctx, "select count(*) from events").Scan(&n))
	return n
}

// tagThen appends an event with tags, and ends the transaction in one way or another.
func (b *testBundle) tagThen(t *testing.T, end func(pgx.Tx, context.Context) error, tags ...string) {
	t.Helper()
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.AppendTagged(b.ctx, tx, streamOf(t), eventstore.Any(), tagged("Anything", tags...))
	require.NoError(t, err)
	require.NoError(t, end(tx, b.ctx))
}

// execer runs statements: a pool or a transaction.
type execer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// plainSQL is how a program that knows nothing of this package appends an event with tags.
const plainSQL = `with e as (
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('plain', gen_random_uuid()::text, 1, $1, '{}') returning global_position, event_id
	), tagged as (
		insert into event_tags (tag, event_id) select tag, event_id from e, unnest($2::text[]) tag order by tag
	)
	select global_position, event_id::text from e`

func (b *testBundle) plain(t *testing.T, q execer, typ string, tags ...string) (position int64, id string) {
	t.Helper()
	require.NoError(t, q.QueryRow(b.ctx, plainSQL, typ, tags).Scan(&position, &id))
	return position, id
}

// tagOld gives a tag to the first event of the log.
func (b *testBundle) tagOld(t *testing.T, tag string) {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, "insert into event_tags (tag, event_id) select $1, event_id from events order by global_position limit 1", tag)
	require.NoError(t, err)
}

// tagHalf gives a tag to the last event that is tagged as half of what it is to be.
func (b *testBundle) tagHalf(t *testing.T, tag string) {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, "insert into event_tags (tag, event_id) select $1, event_id from event_tags where tag = 'half' order by entry desc limit 1", tag)
	require.NoError(t, err)
}

// What a decision was made on can be gone: a table that was emptied, a copy of it, a standby that had not got everything. Entries are
// numbered anew there, or not yet, so that nothing seems to have come.
func TestAppendIf_IsRefusedIfWhatWasReadIsNotThereAnyMore(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"lost":                  "delete from event_tags where entry = 3; delete from events where global_position = 3",
		"emptied":               "truncate events, event_tags restart identity",
		"numbered anew":         "delete from event_tags; insert into event_tags (tag, event_id) select 'course:1', event_id from events",
		"another has its entry": "truncate event_tags restart identity; insert into event_tags (tag, event_id) select 'course:1', event_id from events order by global_position desc",
	} {
		for _, mode := range modes {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				for range 3 {
					b.tag(t, "Joined", "course:1")
				}
				_, condition, err := eventstore.ReadTagged(b.ctx, b.pool(t, mode), all("course:1"), all("student:7"))
				require.NoError(t, err)
				for _, one := range strings.Split(sql, "; ") {
					_, err := b.Pool.Exec(b.ctx, one)
					require.NoError(t, err)
				}
				before := b.events(t)
				err = pgx.BeginFunc(b.ctx, b.pool(t, mode), func(tx pgx.Tx) error {
					_, err := eventstore.AppendIf(b.ctx, tx, condition, order, tagged("Left", "course:1"))
					return err
				})
				require.ErrorIs(t, err, eventstore.ErrConflict)
				require.Equal(t, before, b.events(t))
				_, condition = b.read(t, all("course:1"), all("student:7"))
				require.NoError(t, b.decide(condition, order, tagged("Left", "course:1")), "what is read again holds")
			})
		}
	}
}

// A transaction reads its own events too. If it is rolled back, its condition rests on what never was.
func TestAppendIf_IsRefusedIfWhatWasReadWasRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.AppendTagged(b.ctx, tx, streamOf(t), eventstore.Any(), tagged("Opened", "course:1"))
	require.NoError(t, err)
	events, condition, err := eventstore.ReadTagged(b.ctx, tx, all("course:1"))
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.NoError(t, tx.Rollback(b.ctx))
	require.ErrorIs(t, b.decide(condition, order, tagged("Joined", "course:1")), eventstore.ErrConflict)
	require.Zero(t, b.events(t))
}

// Rows that were loaded into a table whose sequence is set by hand, or by the load, can have numbers that are given out again.
func TestAppendTagged_ASequenceThatWasSetBackHidesNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(t, "Joined", "other")
	b.tag(t, "Joined", "other")
	b.tag(t, "Joined", "course:1")
	_, condition := b.read(t, all("course:1"))
	_, err := b.Pool.Exec(b.ctx, "select setval('event_tags_entry_seq', 1, false)")
	require.NoError(t, err)
	before := b.events(t)
	for _, mode := range modes {
		err = pgx.BeginFunc(b.ctx, b.pool(t, mode), func(tx pgx.Tx) error {
			_, err := eventstore.AppendTagged(b.ctx, tx, streamOf(t), eventstore.Any(), tagged("Joined", "course:1"))
			return err
		})
		require.ErrorContains(t, err, "set it to the highest entry")
		require.NotErrorIs(t, err, eventstore.ErrConflict)
		_, err = b.Pool.Exec(b.ctx, "select setval('event_tags_entry_seq', 1, false)")
		require.NoError(t, err)
	}
	require.Equal(t, before, b.events(t))
	_, err = b.Pool.Exec(b.ctx, "select setval('event_tags_entry_seq', (select max(entry) from event_tags))")
	require.NoError(t, err)
	b.tag(t, "Joined", "course:1")
	require.ErrorIs(t, b.decide(condition, order, tagged("Joined", "course:1")), eventstore.ErrConflict)
}

func TestAppendIf_NoEventsIsForWhatMustBeTheOnlyOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	free := eventstore.NoEvents(eventstore.Match{Tags: []string{"name:ada"}, Types: []string{"NameTaken"}})
	b.tag(t, "NameWished", "name:ada")
	require.NoError(t, b.decide(free, order, tagged("NameTaken", "name:ada")))
	require.ErrorIs(t, b.decide(free, order, tagged("NameTaken", "name:ada")), eventstore.ErrConflict)
}

func TestAppendIf_HigherIsolationIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, condition := b.read(t, all("course:1"))
	for _, isolation := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		tx := b.begin(t, b.Pool, isolation)
		_, err := eventstore.AppendIf(b.ctx, tx, condition, order, tagged("Joined", "course:1"))
		require.ErrorIs(t, err, eventstore.ErrIsolation)
		_, err = eventstore.AppendTagged(b.ctx, tx, streamOf(t), eventstore.Any(), tagged("Joined", "other"))
		require.NoError(t, err, "the transaction is usable, and without a condition any isolation will do")
		require.NoError(t, tx.Commit(b.ctx))
	}
	tx := b.begin(t, b.Pool, pgx.ReadUncommitted)
	_, err := eventstore.AppendIf(b.ctx, tx, condition, order, tagged("Joined", "course:1"))
	require.NoError(t, err, "which is READ COMMITTED in PostgreSQL")
}

func TestAppendIf_WhatCannotBeAskedIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ok := tagged("Joined", "course:1")
	for name, one := range map[string]struct {
		condition eventstore.Condition
		event     eventstore.Tagged
	}{
		"no condition":  {eventstore.Condition{}, ok},
		"no match":      {eventstore.NoEvents(), ok},
		"no tag":        {eventstore.NoEvents(eventstore.Match{Types: []string{"Joined"}}), ok},
		"empty tag":     {eventstore.NoEvents(all("")), ok},
		"empty type":    {eventstore.NoEvents(eventstore.Match{Tags: []string{"a"}, Types: []string{""}}), ok},
		"empty event's": {eventstore.NoEvents(all("a")), tagged("Joined", "")},
		"zero byte":     {eventstore.NoEvents(all("a")), tagged("Joined", "a\x00")},
		"too long":      {eventstore.NoEvents(all("a")), tagged("Joined", strings.Repeat("a", eventstore.MaxTagBytes+1))},
		"event":         {eventstore.NoEvents(all("a")), tagged("", "a")},
	} {
		err := b.decide(one.condition, order, one.event)
		require.ErrorIs(t, err, eventstore.ErrInvalid, name)
	}
	require.NoError(t, b.decide(eventstore.NoEvents(all("a")), order, tagged("Joined", strings.Repeat("a", eventstore.MaxTagBytes))))
	require.ErrorIs(t, pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(b.ctx, tx, eventstore.NoEvents(all("a")), order)
		return err
	}), eventstore.ErrNoEvents)
	_, _, err := eventstore.ReadTagged(b.ctx, b.Pool)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

// What is rolled back to a savepoint has neither tags nor locks.
func TestAppendIf_ASavepointTakesTagsAndLocksBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	inner, err := tx.Begin(b.ctx)
	require.NoError(t, err)
	_, err = eventstore.AppendTagged(b.ctx, inner, streamOf(t), eventstore.Any(), tagged("Joined", "course:1"))
	require.NoError(t, err)
	require.NoError(t, inner.Rollback(b.ctx))
	require.NoError(t, b.decide(eventstore.NoEvents(all("course:1")), order, tagged("Joined", "course:1")))
	require.NoError(t, tx.Commit(b.ctx))
	seen, _ := b.read(t, all("course:1"))
	require.Len(t, seen, 1)
}

// History of which a part is gone is no ground for a decision. A log that was emptied has none, and its positions belong to others.
func TestReadTagged_SaysWhenEventsHaveLeftTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.tag(t, "Joined", "course:1")
	b.tag(t, "Joined", "course:1", "course:2")
	b.tag(t, "Left", "course:3")
	_, err := b.Pool.Exec(b.ctx, "delete from events where global_position = $1", first.Positions[0])
	require.NoError(t, err)
	for _, match := range []eventstore.Match{all("course:1"), {Tags: []string{"course:1"}, Types: []string{"Left"}}} {
		_, _, err = eventstore.ReadTagged(b.ctx, b.Pool, match)
		require.ErrorIs(t, err, eventstore.ErrGone)
	}
	for _, match := range []eventstore.Match{all("course:2"), all("course:2", "course:1"), all("course:3")} {
		seen, _ := b.read(t, match)
		require.Len(t, seen, 1)
	}
	require.ErrorIs(t, b.decide(eventstore.NoEvents(eventstore.Match{Tags: []string{"course:1"}, Types: []string{"Closed"}}), order, tagged("Joined")),
		eventstore.ErrConflict, "nobody can say of what type it was")

	_, err = b.Pool.Exec(b.ctx, "truncate events restart identity")
	require.NoError(t, err)
	b.append(t, streamOf(t), eventstore.Any(), some(3)...)
	_, _, err = eventstore.ReadTagged(b.ctx, b.Pool, all("course:2"))
	require.ErrorIs(t, err, eventstore.ErrGone, "the event that has its position now is another")
}

// The trigger runs with its owner's rights, so nothing in it may be found by the search_path of whoever writes.
func TestSearchPathOfAWriterBendsNoTag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(1)...)
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, `do $$
		begin
			create schema evil;
			create function evil.pg_advisory_xact_lock(int, int) returns void language plpgsql as 'begin raise exception $x$bent$x$; end';
			create function evil.hashtextextended(pg_catalog.text, bigint) returns bigint language plpgsql as 'begin raise exception $x$bent$x$; end';
			create function evil.nextval(pg_catalog.regclass) returns bigint language plpgsql as 'begin raise exception $x$bent$x$; end';
			create function evil.format(pg_catalog.text, pg_catalog.name) returns pg_catalog.text language plpgsql as 'begin raise exception $x$bent$x$; end';
			create function evil.shift(bigint, int) returns bigint language plpgsql as 'begin raise exception $x$bent$x$; end';
			create operator evil.>> (leftarg = bigint, rightarg = int, function = evil.shift);
			create domain evil.int4 as pg_catalog.text;
			create domain evil.int8 as pg_catalog.text;
			create domain evil.regclass as pg_catalog.int4;
			create collation evil."C" (provider = libc, locale = 'POSIX');
			create sequence evil.event_tags_entry_seq start 1000000;
		end $$`)
	require.NoError(t, err)
	_, err = conn.Exec(b.ctx, "set search_path = evil, pg_catalog, public")
	require.NoError(t, err)
	var entry int64
	require.NoError(t, conn.QueryRow(b.ctx, "insert into public.event_tags (tag, event_id) select 'a', event_id from public.events returning entry").Scan(&entry))
	require.EqualValues(t, 1, entry)
}

// In a log that is large, nothing reads a table whole, also where the server has one plan for all parameters.
func TestTags_AreFoundByIndexes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, `with e as (
			insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'a', n::text, 1, 'Joined', '{}' from generate_series(1, 5000) n returning event_id, global_position
		)
		insert into event_tags (tag, event_id) select k || ':' || global_position % 500, event_id from e, (values ('course'), ('student')) v (k) order by 1`)
	require.NoError(t, err)
	_, err = conn.Exec(b.ctx, "analyze events; analyze event_tags; set plan_cache_mode = force_generic_plan")
	require.NoError(t, err)
	const items = `[{"tags": ["course:1", "student:1"], "seen": [0, 0], "types": ["Joined"]}]`
	for name, sql := range eventstore.TagStatements {
		_, err := conn.Exec(b.ctx, "deallocate all; prepare p as "+sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		param := `'` + items + `'`
		if name == "seen" {
			param = "array['course:1', 'student:1']"
		}
		rows, err := conn.Query(b.ctx, "explain execute p ("+param+")", pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan on event", name)
		require.Contains(t, strings.Join(plan, "\n"), "event_tags_pkey", name)
	}
}

// An append without tags does what it did before there were any: it touches nothing of them, and the table events has nothing new to keep.
func TestAppend_WithoutTagsTouchesNothingOfThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, streamOf(t), eventstore.NoStream(), some(1)...) // the first of all takes more locks
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := eventstore.Append(b.ctx, tx, order, eventstore.NoStream(), some(3)...)
	require.NoError(t, err)
	var relations, advisory, indexes, triggers int
	require.NoError(t, tx.QueryRow(b.ctx, `select
		(select count(*) from pg_locks l join pg_class c on c.oid = l.relation where l.pid = pg_backend_pid() and c.relname like 'event\_tags%'),
		(select count(*) from pg_locks l where l.pid = pg_backend_pid() and l.locktype = 'advisory'),
		(select count(*) from pg_index where indrelid = 'events'::regclass),
		(select count(*) from pg_trigger where tgrelid = 'events'::regclass)`).Scan(&relations, &advisory, &indexes, &triggers))
	require.Zero(t, relations)
	require.Equal(t, 1, advisory, "K, and no tag's")
	require.Equal(t, 3, indexes)
	require.Equal(t, 2, triggers)
}
