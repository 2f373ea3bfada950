package catchup_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// ears hears what the pushes of a log carry, as an armed process does.
type ears struct {
	*bundle
	conn *pgx.Conn
}

// carrying has the pushes of the log carry events, and hears them.
func carrying(t *testing.T) *ears {
	t.Helper()
	b := setup(t)
	require.NoError(t, migrations.Carry(b.ctx, b.Conn(t), true, nil))
	return b.ears()
}

func (b *bundle) ears() *ears {
	b.t.Helper()
	e := &ears{bundle: b, conn: b.Conn(b.t)}
	var arm string
	require.NoError(b.t, e.conn.QueryRow(b.ctx, `select format('listen rouse_%s; select pg_advisory_lock_shared(1919907155, %s::bigint::int)', oid, oid)
		from pg_class where oid = 'events'::regclass`).Scan(&arm))
	_, err := e.conn.Exec(b.ctx, arm, pgx.QueryExecModeSimpleProtocol)
	require.NoError(b.t, err)
	return e
}

// hear returns the payload of the next push.
func (e *ears) hear() string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	n, err := e.conn.WaitForNotification(ctx)
	require.NoError(e.t, err)
	return n.Payload
}

// carried is a reader's answer to payloads.
func (e *ears) carried(r *catchup.Reader, payloads ...string) ([]int64, bool) {
	e.t.Helper()
	b, ok := r.Carried(e.ctx, payloads)
	positions := []int64{}
	for _, ev := range b.Events {
		positions = append(positions, ev.GlobalPosition)
	}
	return positions, ok
}

// What a push carries is what a read brings, byte for byte, whatever is in it.
func TestCarried_IsWhatAReadBrings(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	inserts := []string{
		`values ('thing', 'a', 1, 'e', '{}', 1, '{}', default)`,
		`values ('thing', 'b', 9223372036854775807, 'e', '{}', 2147483647, '{"a": [1, 2 , 3], "a": 4}', default)`,
		`values (E't\n\t ', E'00ff\n 1 2', 1, E'\u00e9\U0001F600"''\\', E' \n{ "a" :\t1 }\n ', 1, E'  "x"  ', default)`,
		`values ('thing', 'c', 1, 'e', '"\u0000\ud800 \udc00\\\" \/"', 1, '1e400', default)`,
		`values ('thing', 'd', 1, 'e', '-0.00000000000000000000000000000000000000000000000001000', 1, 'null', default)`,
		`values ('thing', 'e', 1, 'e', '12345678901234567890123456789012345678901234567890.5E+7', 1, '[[],{},"",[[]]]', default)`,
		`values ('thing', 'f', 1, 'e', '{}', 1, '{}', '2026-02-28 23:59:59.999999+14')`,
		`values ('thing', 'g', 1, 'e', '{}', 1, '{}', 'infinity')`,
		`values ('thing', 'h', 1, 'e', '{}', 1, '{}', '-infinity')`,
		`values ('thing', 'i', 1, 'e', '{}', 1, '{}', '4000-01-01 00:00:00.000001 BC')`,
		`values ('thing', 'j', 1, 'e', '{}', 1, '{}', '290000-01-01')`,
		`values (repeat('t', 1000), repeat('\u4e16', 349), 1, repeat('y', 1024), '{}', 1, '{}', default)`,
		`select 'thing', 'many', n, 'e', to_json(repeat('x', n::int)), 1, '{}', clock_timestamp() from generate_series(1, 20) n`,
	}
	session := e.Conn(t)
	for i, insert := range inserts {
		carrier, reader := e.reader(e.Pool, e.head()), e.reader(e.Pool, e.head())
		_, err := session.Exec(e.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, event_version, metadata, created_at) `+
			strings.ReplaceAll(insert, `\u4e16`, "\u4e16"))
		require.NoError(t, err, insert)
		got, ok := carrier.Carried(e.ctx, []string{e.hear()})
		require.True(t, ok, insert)
		want, err := reader.Next(e.ctx, 100)
		require.NoError(t, err)
		require.NotEmpty(t, want.Events)
		require.Equal(t, want.Events, got.Events, insert)
		if i == 0 { // what a writer's session has set is of no matter
			_, err := session.Exec(e.ctx, "set timezone = 'Asia/Kathmandu'; set datestyle = 'german'; set bytea_output = 'escape'; set extra_float_digits = -3; set client_encoding = 'UTF8'", pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
		}
	}
}

// head is the last position given out.
func (b *bundle) head() int64 {
	b.t.Helper()
	return b.int("select coalesce(pg_sequence_last_value('events_global_position_seq'), 0)")
}

// A push of a commit that came before that of an earlier position is not taken before that has come as well.
func TestCarried_FollowsTheCursorWithoutAHole(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	reader := e.reader(e.Pool, 0)
	slow := e.begin(pgx.ReadCommitted)
	hole := e.append(slow, 1)
	above := e.append(e.Pool, 2)
	early := e.hear()
	_, ok := e.carried(reader, early)
	require.False(t, ok, "an open append may still fill the position below")
	require.NoError(t, slow.Commit(e.ctx))
	late := e.hear()
	got, ok := e.carried(reader, early, late)
	require.True(t, ok)
	require.Equal(t, append(hole, above...), got, "in the order of positions, and not of commits")

	got, ok = e.carried(reader, late, early, late)
	require.True(t, ok, "nothing is missing")
	require.Empty(t, got, "and nothing is handed out twice")

	burnt := e.begin(pgx.ReadCommitted)
	e.append(burnt, 1)
	require.NoError(t, burnt.Rollback(e.ctx))
	behind := e.append(e.Pool, 1)
	_, ok = e.carried(reader, e.hear())
	require.False(t, ok, "only a look at the locks can tell that nobody fills the hole")
	found, _ := e.next(reader, 10)
	require.Equal(t, behind, found)
	next := e.append(e.Pool, 1)
	got, ok = e.carried(reader, e.hear())
	require.True(t, ok)
	require.Equal(t, next, got)
}

// Events that somebody puts back at their old positions are behind every cursor, and nothing comes of what is carried of them.
func TestCarried_EventsThatArePutBackChangeNothing(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	reader := e.reader(e.Pool, 0)
	e.append(e.Pool, 3)
	_, ok := e.carried(reader, e.hear())
	require.True(t, ok)
	e.exec("create table archived as select * from events where global_position = 2")
	e.exec("delete from events where global_position = 2")
	e.exec(`insert into events (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, payload) overriding system value
		select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, payload from archived`)
	put := e.hear()
	require.NotEmpty(t, put)
	got, ok := e.carried(reader, put)
	require.True(t, ok)
	require.Empty(t, got)
	next := e.append(e.Pool, 1)
	got, ok = e.carried(reader, put, e.hear())
	require.True(t, ok)
	require.Equal(t, next, got)
}

// Each reader has the events of its slots.
func TestCarried_KnowsTheSlotsOfItsReader(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	e.append(e.Pool, 40)
	push := e.hear()
	handed := 0
	for p := range 2 {
		b, ok := catchup.NewReader(e.Pool, e.log, e.token, catchup.SlotsOf([]int{p}, 2), 0).Carried(e.ctx, []string{push})
		require.True(t, ok)
		require.Equal(t, int64(40), b.To)
		for _, ev := range b.Events {
			require.Equal(t, int16(p), ev.Slot%2)
		}
		handed += len(b.Events)
	}
	require.Equal(t, 40, handed)
}

// Whoever may notify can send what it has heard before, and anything else. Only what an append has sealed is believed.
func TestCarried_ForgeriesAreRead(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	e.append(e.Pool, 1)
	first := e.hear()
	second := e.append(e.Pool, 1)
	genuine := e.hear()
	reader := e.reader(e.Pool, 1)
	next := strings.Replace(first, "0000000000000001", "0000000000000002", 1) // the seal of another event
	require.NotEqual(t, first, next)
	zero, nothing := make([]byte, 64), sha256.Sum256(nil)
	for name, push := range map[string]string{
		"another position":       next,
		"another text":           strings.Replace(genuine, "thing", "THING", 1),
		"the seal of another":    first[:64] + genuine[64:],
		"without a seal":         genuine[65:],
		"a seal without a key":   hex.EncodeToString(nothing[:]) + genuine[64:],
		"a key of zeros":         sealed(zero, zero, genuine[65:]),
		"cut short":              genuine[:len(genuine)-1],
		"longer":                 genuine + " ",
		"a seal in other digits": strings.ToUpper(genuine[:64]) + genuine[64:],
		"text":                   "x",
		"a long text":            strings.Repeat("9", 7999),
	} {
		if push == genuine {
			continue // a seal without letters
		}
		_, ok := e.carried(reader, push)
		require.False(t, ok, name)
		_, ok = e.carried(reader, genuine, push)
		require.False(t, ok, name+", beside a genuine one")
	}
	got, ok := e.carried(reader, first, genuine, first)
	require.True(t, ok)
	require.Equal(t, second, got, "what was sent before is known")
}

// sealed seals a message with a key.
func sealed(inner, outer []byte, message string) string {
	within := sha256.Sum256(append(slices.Clone(inner), message...))
	whole := sha256.Sum256(append(slices.Clone(outer), within[:]...))
	return hex.EncodeToString(whole[:]) + " " + message
}

// The seal is HMAC-SHA256, as anybody can compute it.
func TestCarried_SealIsHMAC(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	var inner, outer []byte
	require.NoError(t, e.Pool.QueryRow(e.ctx, "select inner_pad, outer_pad from rouse_push_key").Scan(&inner, &outer))
	key := slices.Clone(inner)
	for i := range key {
		key[i] ^= 0x36
		require.Equal(t, outer[i], key[i]^0x5c)
	}
	e.append(e.Pool, 1)
	push := e.hear()
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(push[65:]))
	require.Equal(t, hex.EncodeToString(mac.Sum(nil)), push[:64])
	for _, place := range []func(*catchup.Log){
		func(l *catchup.Log) { l.Database++ }, func(l *catchup.Log) { l.Events++ }, func(l *catchup.Log) { l.Filenode++ },
	} { // as in a copy of the database, another schema, a log that was begun anew
		log := e.log
		place(&log)
		_, ok := e.carried(catchup.NewReader(e.Pool, log, e.token, allSlots(), 0), push)
		require.False(t, ok)
	}
	_, ok := e.carried(e.reader(e.Pool, 0), push)
	require.True(t, ok)
}

// A worker that has read the key finds out by itself that there is another one.
func TestCarried_AnotherKeyIsFound(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	reader := e.reader(e.Pool, 0)
	e.append(e.Pool, 1)
	_, ok := e.carried(reader, e.hear())
	require.True(t, ok)
	require.NoError(t, migrations.Carry(e.ctx, e.Conn(t), true, nil))
	next := e.append(e.Pool, 1)
	push := e.hear()
	testdb.Eventually(t, patience, "the reader to ask for the key", func() (bool, error) {
		got, ok := e.carried(reader, push)
		return ok && slices.Equal(got, next), nil
	})
}

// What was sealed in an earlier incarnation says nothing in this one.
func TestCarried_IsOfOneIncarnation(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	e.append(e.Pool, 1)
	before := e.hear()
	old := e.reader(e.Pool, 0)
	e.exec("truncate rouse_incarnation")
	e.append(e.Pool, 1)
	require.Empty(t, e.hear(), "there is no token yet")
	token, err := catchup.CurrentToken(e.ctx, e.Pool)
	require.NoError(t, err)
	e.append(e.Pool, 1)
	after := e.hear()
	_, ok := e.carried(old, before, after)
	require.False(t, ok)
	_, ok = e.carried(catchup.NewReader(e.Pool, e.log, token, allSlots(), 0), before)
	require.False(t, ok)
	_, ok = e.carried(catchup.NewReader(e.Pool, e.log, token, allSlots(), 2), after)
	require.True(t, ok)
}

// What does not fit is a wake as ever, and no append fails for it.
func TestCarried_WhatDoesNotFitIsAnOrdinaryWake(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	const insert = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, 'e', to_json(repeat($1, $2::int)) from generate_series(1, $3::int)`
	carried := 0
	for _, c := range []struct {
		letter      string
		size, count int
		carries     bool
	}{
		{"x", 7000, 1, true}, {"x", 8000, 1, false}, {"é", 3500, 1, true}, {"é", 4000, 1, false}, {"x", 1 << 20, 1, false}, {"x", 30 << 20, 1, false},
		{"x", 10, 20, true}, {"x", 1, 64, false}, {"x", 10, 65, false}, {"x", 1, 20_000, false}, {"x", 7000, 1, true},
	} {
		e.exec(insert, c.letter, c.size, c.count)
		require.Equal(t, c.carries, e.hear() != "", "%d of %d", c.count, c.size)
	}
	for size := 7400; size < 7800; size += 7 { // past the limit by each byte of a few
		e.exec(insert, "x", size, 1)
		push := e.hear()
		require.LessOrEqual(t, len(push), 7999)
		if push != "" {
			carried++
		}
	}
	require.Greater(t, carried, 5)
	require.Less(t, carried, 50)

	e.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) select 'thing', 'a', 1, 'e', '{}' where false")
	require.Empty(t, e.hear(), "no event")
	tx := e.begin(pgx.ReadCommitted)
	at := e.reader(e.Pool, e.head())
	want := append(append(e.append(tx, 1), e.append(tx, 2)...), e.append(tx, 1)...)
	require.NoError(t, tx.Commit(e.ctx))
	got, ok := e.carried(at, e.hear(), e.hear(), e.hear())
	require.True(t, ok, "a transaction of several statements")
	require.Equal(t, want, got)
}

// A restore brings arguments of another database, a hand may rename the schema, and the owner turns it off: what is not carried is read.
func TestCarried_IsLeftOutWhereTheTriggerIsNotSure(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	e.exec("create or replace trigger rouse_append_after after insert on events referencing new table as appended for each statement execute function rouse_append_carry(1, 2)")
	e.exec("alter table events enable always trigger rouse_append_after")
	e.append(e.Pool, 1)
	require.Empty(t, e.hear(), "the arguments are of another table")
	require.NoError(t, migrations.Carry(e.ctx, e.Conn(t), true, nil))
	e.append(e.Pool, 1)
	require.NotEmpty(t, e.hear())
	e.exec("delete from rouse_push_key")
	e.append(e.Pool, 1)
	require.Empty(t, e.hear(), "the key is gone")
	require.NoError(t, migrations.Carry(e.ctx, e.Conn(t), true, nil))
	e.exec("alter schema public rename to other")
	_, err := e.Pool.Exec(e.ctx, "insert into other.events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'a', 1, 'e', '{}')")
	require.NoError(t, err)
	require.NotEmpty(t, e.hear(), "the schema has another name")
	e.exec("alter schema other rename to public")
	e.exec("alter table events alter event_version drop not null")
	e.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload) values ('thing', 'b', 1, 'e', null, '{}'), ('thing', 'c', 1, 'e', 1, '{}')")
	require.Empty(t, e.hear(), "one of two cannot be carried")
	require.NoError(t, migrations.Carry(e.ctx, e.Conn(t), false, nil))
	e.append(e.Pool, 1)
	require.Empty(t, e.hear())
	require.Zero(t, e.int("select count(*) from rouse_push_key"))
	require.Equal(t, "A", e.text("select tgenabled::text from pg_trigger where tgname = 'rouse_append_after'"))
}

func (b *bundle) text(sql string, args ...any) (text string) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&text))
	return text
}

// Nobody sleeps: nothing is carried and nobody is told.
func TestCarried_NobodyIsToldWhereNobodySleeps(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	_, err := e.conn.Exec(e.ctx, "select pg_advisory_unlock_all()")
	require.NoError(t, err)
	e.append(e.Pool, 1)
	_, err = e.Pool.Exec(e.ctx, "select pg_notify($1, 'the next')", fmt.Sprint("rouse_", e.log.Events))
	require.NoError(t, err)
	require.Equal(t, "the next", e.hear())
}
