package eventstore_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// Whatever reads as an id is written again as the same id, and every way to read it agrees.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"01900000-0000-7000-8000-00000000000a", "01900000-0000-7000-8000-00000000000A", "00000000-0000-0000-0000-000000000000", "",
		"01900000000070008000-00000000000a-000", "01900000-0000-7000-8000-00000000000g", "{1900000-0000-7000-8000-00000000000}", strings.Repeat("-", 36),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := eventstore.ParseID(text)
		var scanned, unmarshalled eventstore.ID
		scanErr := scanned.Scan(text)
		textErr := unmarshalled.UnmarshalText([]byte(text))
		if err != nil {
			require.Error(t, scanErr)
			require.Error(t, textErr)
			require.True(t, id.IsZero() && scanned.IsZero() && unmarshalled.IsZero(), "what cannot be read leaves nothing behind")
			return
		}
		require.NoError(t, scanErr)
		require.NoError(t, textErr)
		require.Equal(t, strings.ToLower(text), id.String())
		require.Equal(t, id, scanned)
		require.Equal(t, id, unmarshalled)
	})
}

// What passes the checks of an append is taken by the server and read back as it was, or the check is a false promise.
func FuzzAppend(f *testing.F) {
	for _, seed := range []struct{ aggregateType, id, eventType, payload, metadata string }{
		{"order", "1", "OrderPlaced", "{}", ""},
		{" ", "\u2028\u0001'", "\t", `"\u0000"`, `"\udc00\ud800"`},
		{"order", strings.Repeat("ü", 1021), "e", " [1e999999, -0.0e+10] ", "null"},
		{"a", "b", "c", strings.Repeat("[", 300) + strings.Repeat("]", 300), `{"a":1,"a":2,"":3}`},
		{"a\x00", "b", "c", "{}", ""},
		{"a", "\xff", "c", "{}", ""},
		{"a", "b", "", "{\"a\":\"\xff\"}", "{"},
	} {
		f.Add(seed.aggregateType, seed.id, seed.eventType, seed.payload, seed.metadata)
	}
	db := testdb.New(f)
	f.Fuzz(func(t *testing.T, aggregateType, id, eventType, payload, metadata string) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		tx, err := db.Pool.Begin(ctx)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(ctx) }()
		stream := eventstore.Stream{Type: aggregateType, ID: id}
		_, err = eventstore.Append(ctx, tx, stream, eventstore.NoStream(),
			eventstore.NewEvent{Type: eventType, Payload: json.RawMessage(payload), Metadata: json.RawMessage(metadata)})
		if err != nil {
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			_, err = tx.Exec(ctx, "select 1")
			require.NoError(t, err, "what is refused must leave the transaction usable")
			return
		}
		stored, err := eventstore.ReadStream(ctx, tx, stream, eventstore.ReadOptions{})
		require.NoError(t, err)
		require.Len(t, stored, 1)
		require.Equal(t, stream, stored[0].Stream())
		require.Equal(t, eventType, stored[0].Type)
		require.Equal(t, payload, string(stored[0].Payload))
		if metadata == "" {
			metadata = "{}"
		}
		require.Equal(t, metadata, string(stored[0].Metadata))
		require.WithinRange(t, stored[0].CreatedAt, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	})
}
