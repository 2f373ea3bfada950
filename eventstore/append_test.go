package eventstore_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

func TestAppend_StoresWhatItIsGivenInEveryMode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	given := []eventstore.NewEvent{
		{Type: "Opened", Payload: json.RawMessage(`{"a": "it's \"quoted\" \\ $1 {x,y} ;-- /* ü 🙂"}`)},
		{ID: eventstore.NewID(), Type: "Ge'än\"dert {,}\\", Version: 7, Payload: json.RawMessage(`  [1,  2.50e1, null]`),
			Metadata: json.RawMessage(`{"by": "me"}`)},
		{Type: "Closed", Payload: json.RawMessage(`"\u0000\ud800 NULL"`), Metadata: json.RawMessage(`null`)},
	}
	for _, mode := range modes {
		for _, n := range []int{1, len(given)} {
			t.Run(fmt.Sprintf("%s/%d", mode, n), func(t *testing.T) {
				pool := b.pool(t, mode)
				stream := eventstore.Stream{Type: `Or'der "x"`, ID: fmt.Sprintf(`\{%s,%d}$2`, mode, n)}
				events := append([]eventstore.NewEvent(nil), given[:n]...)
				for i := range events {
					if !events[i].ID.IsZero() {
						events[i].ID = eventstore.NewID()
					}
				}
				before := time.Now()
				var appended eventstore.Appended
				err := pgx.BeginFunc(b.ctx, pool, func(tx pgx.Tx) (err error) {
					appended, err = eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), events...)
					return err
				})
				require.NoError(t, err)
				assert.Equal(t, int64(1), appended.FirstVersion)
				assert.Equal(t, int64(n), appended.LastVersion)
				require.Len(t, appended.Positions, n)
				require.Len(t, appended.IDs, n)
				assert.Equal(t, appended.Positions[n-1], appended.LastPosition())
				assert.IsIncreasing(t, append([]int64{0}, appended.Positions...))

				stored, err := eventstore.ReadStream(b.ctx, pool, stream, eventstore.ReadOptions{})
				require.NoError(t, err)
				require.Len(t, stored, n)
				for i, e := range stored {
					assert.Equal(t, appended.Positions[i], e.GlobalPosition)
					assert.Equal(t, appended.IDs[i], e.ID)
					assert.Equal(t, e.Slot, appended.Slot)
					if !events[i].ID.IsZero() {
						assert.Equal(t, events[i].ID, e.ID)
					}
					assert.False(t, e.ID.IsZero())
					assert.Equal(t, stream, e.Stream())
					assert.Equal(t, int64(i+1), e.AggregateVersion)
					assert.Equal(t, events[i].Type, e.Type)
					assert.Equal(t, max(events[i].Version, 1), e.Version)
					assert.Equal(t, string(events[i].Payload), string(e.Payload))
					if events[i].Metadata == nil {
						assert.Equal(t, `{}`, string(e.Metadata))
					} else {
						assert.Equal(t, string(events[i].Metadata), string(e.Metadata))
					}
					assert.GreaterOrEqual(t, e.Slot, int16(0))
					assert.Less(t, e.Slot, int16(1024))
					assert.WithinDuration(t, before, e.CreatedAt, time.Minute)
					assert.Equal(t, time.UTC, e.CreatedAt.Location())
				}
			})
		}
	}
}

func TestAppend_IsPartOfTheCallersTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	oneAndMany(t, func(t *testing.T, n int) {
		stream := streamOf(t)
		tx := b.begin(t, b.Pool, pgx.ReadCommitted)
		_, err := eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), some(n)...)
		require.NoError(t, err)
		assert.Zero(t, b.version(t, stream), "seen before the commit")

		again, err := eventstore.Append(b.ctx, tx, stream, eventstore.Exact(int64(n)), some(n)...)
		require.NoError(t, err)
		assert.Equal(t, int64(n+1), again.FirstVersion)
		own, err := eventstore.ReadStream(b.ctx, tx, stream, eventstore.ReadOptions{})
		require.NoError(t, err)
		assert.Len(t, own, 2*n)

		nested, err := tx.Begin(b.ctx)
		require.NoError(t, err)
		_, err = eventstore.Append(b.ctx, nested, stream, eventstore.Any(), some(n)...)
		require.NoError(t, err)
		require.NoError(t, nested.Rollback(b.ctx))

		require.NoError(t, tx.Commit(b.ctx))
		assert.Equal(t, int64(2*n), b.version(t, stream))
	})
}

func TestAppend_RefusesWhatCannotBeStoredBeforeTheDatabaseIsAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := eventstore.Stream{Type: "order", ID: "1"}
	ok := eventstore.NewEvent{Type: "Opened", Payload: json.RawMessage(`{}`)}
	with := func(f func(*eventstore.NewEvent)) []eventstore.NewEvent {
		bad := ok
		f(&bad)
		return []eventstore.NewEvent{ok, bad}
	}
	payload := func(s string) []eventstore.NewEvent {
		return with(func(e *eventstore.NewEvent) { e.Payload = json.RawMessage(s) })
	}
	twice := eventstore.NewID()
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	for _, tc := range []struct {
		name     string
		stream   eventstore.Stream
		expected eventstore.Expected
		events   []eventstore.NewEvent
		is       error
		says     string
	}{
		{name: "no events", stream: stream, is: eventstore.ErrNoEvents, says: "skip the call"},
		{name: "no stream type", stream: eventstore.Stream{ID: "1"}, events: some(1), says: "the stream's type is empty"},
		{name: "no stream id", stream: eventstore.Stream{Type: "order"}, events: some(1), says: "the stream's id is empty"},
		{name: "zero byte", stream: eventstore.Stream{Type: "order", ID: "a\x00b"}, events: some(1), says: "zero byte"},
		{name: "broken UTF-8", stream: eventstore.Stream{Type: "order\xff", ID: "1"}, events: some(1), says: "not valid UTF-8"},
		{name: "id too long", stream: eventstore.Stream{Type: "order", ID: strings.Repeat("x", 2044)}, events: some(1), says: "at most 2048"},
		{name: "negative version", stream: stream, expected: eventstore.Exact(-1), events: some(1), says: "versions start at 1"},
		{name: "no type", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Type = "" }), says: "event 2 of 2: the type is empty"},
		{name: "zero byte in the type", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Type = "a\x00" }), says: "zero byte"},
		{name: "schema version below 1", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Version = -1 }), says: "schema version -1"},
		{name: "schema version above int", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Version = 1 << 31 }), says: "schema version 2147483648"},
		{name: "no payload", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Payload = nil }), says: "give json.RawMessage(`{}`)"},
		{name: "empty payload", stream: stream, events: payload(""), says: "the payload is missing"},
		{name: "blank payload", stream: stream, events: payload(" "), says: "the payload is not valid JSON"},
		{name: "text as payload", stream: stream, events: payload("hello"), says: "json.Marshal"},
		{name: "cut payload", stream: stream, events: payload(`{"a":`), says: "the payload is not valid JSON"},
		{name: "zero byte in the payload", stream: stream, events: payload("\"\x00\""), says: "the payload is not valid JSON"},
		{name: "broken UTF-8 in the payload", stream: stream, events: payload("\"\xff\""), says: "the payload is not valid UTF-8"},
		{name: "metadata", stream: stream, events: with(func(e *eventstore.NewEvent) { e.Metadata = json.RawMessage(`x`) }), says: "the metadata is not valid JSON"},
		{name: "one id twice", stream: stream, events: []eventstore.NewEvent{
			{ID: twice, Type: "A", Payload: ok.Payload}, {ID: twice, Type: "B", Payload: ok.Payload},
		}, is: eventstore.ErrDuplicateID, says: twice.String()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := eventstore.Append(b.ctx, tx, tc.stream, tc.expected, tc.events...)
			if tc.is == nil {
				tc.is = eventstore.ErrInvalid
			}
			require.ErrorIs(t, err, tc.is)
			assert.ErrorContains(t, err, tc.says)
			assert.True(t, strings.HasPrefix(err.Error(), "eventstore: "), err.Error())
		})
	}
	_, err := eventstore.Append(b.ctx, tx, stream, eventstore.NoStream(), ok)
	require.NoError(t, err, "the transaction was not usable any more")
}

// What passes the checks must be taken by the server, or the check is a false promise.
func TestAppend_TakesEverythingThatItsChecksLetThrough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	oneAndMany(t, func(t *testing.T, n int) {
		noise := make([]byte, 2043) // incompressible, since the server compresses long keys
		for i := range noise {
			noise[i] = byte(33 + rand.IntN(90))
		}
		for _, stream := range []eventstore.Stream{{Type: "order", ID: string(noise)}, {Type: " ", ID: fmt.Sprintf("\u2028\u0001'%d", n)}} {
			b.append(t, stream, eventstore.NoStream(), some(n)...)
		}
		for i, payload := range []string{
			`null`, `0`, `-0.0e+10`, `1e999999`, `""`, `"\u0000"`, `"\udc00\ud800"`, "\t\r\n {} ", `{"a":1,"a":2,"":3}`,
			strings.Repeat("[", 5000) + strings.Repeat("]", 5000), `"` + strings.Repeat("ü", 1<<19) + `"`,
		} {
			events := some(n)
			events[n-1].Payload, events[n-1].Metadata = json.RawMessage(payload), json.RawMessage(payload)
			stream := eventstore.Stream{Type: "json", ID: fmt.Sprint(n, i)}
			b.append(t, stream, eventstore.NoStream(), events...)
			stored, err := eventstore.ReadStream(b.ctx, b.Pool, stream, eventstore.ReadOptions{FromVersion: int64(n)})
			require.NoError(t, err)
			require.Len(t, stored, 1)
			require.Equal(t, payload, string(stored[0].Payload))
			require.Equal(t, payload, string(stored[0].Metadata))
		}
	})
}

func TestAppend_ManyEventsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := eventstore.Stream{Type: "order", ID: "1"}
	const n = 5000
	appended := b.append(t, stream, eventstore.NoStream(), some(n)...)
	assert.Equal(t, int64(n), appended.LastVersion)
	assert.IsIncreasing(t, appended.Positions)
	stored, err := eventstore.ReadAfter(b.ctx, b.Pool, 0, -1)
	require.NoError(t, err)
	require.Len(t, stored, n)
	for i, e := range stored {
		require.Equal(t, appended.Positions[i], e.GlobalPosition)
		require.Equal(t, appended.IDs[i], e.ID)
		require.Equal(t, int64(i+1), e.AggregateVersion)
		require.JSONEq(t, fmt.Sprintf(`{"n": %d}`, i+1), string(e.Payload))
	}
}

func TestAppend_SaysWhatToDoWithoutTheTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err := tx.Exec(b.ctx, `set local search_path = pg_temp`)
	require.NoError(t, err)
	_, err = eventstore.Append(b.ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(), some(2)...)
	require.ErrorIs(t, err, eventstore.ErrNotMigrated)
	assert.ErrorContains(t, err, "rouse migrate")

	tx = b.begin(t, b.Pool, pgx.ReadCommitted)
	_, err = tx.Exec(b.ctx, `set local search_path = pg_temp`)
	require.NoError(t, err)
	_, err = eventstore.ReadAfter(b.ctx, tx, 0, 1)
	require.ErrorIs(t, err, eventstore.ErrNotMigrated)
}
