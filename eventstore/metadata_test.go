package eventstore_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// TestMetadataOfTheContextIsAppended beside the event's own, which wins; and one that cannot take it leaves the transaction usable.
func TestMetadataOfTheContextIsAppended(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	plain := context.Background()
	ctx := eventstore.WithMetadata(eventstore.WithMetadata(eventstore.WithMetadata(plain, "who", "ada"), "trace", "t-1"), "trace", "t-2")
	stream := eventstore.Stream{Type: "order", ID: "o-1"}
	event := func(metadata string) eventstore.NewEvent {
		return eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{}`), Metadata: json.RawMessage(metadata)}
	}
	events := []eventstore.NewEvent{event(""), event(`{"who": "grace", "n": 1.50}`)}
	require.NoError(t, pgx.BeginFunc(plain, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, stream, eventstore.Any(), event(`["a"]`))
		assert.ErrorIs(t, err, eventstore.ErrInvalid)
		_, err = eventstore.Append(ctx, tx, stream, eventstore.Any(), events...)
		return err
	}))
	assert.Empty(t, events[0].Metadata, "the caller's are left alone")
	stored, err := eventstore.ReadAfter(plain, db.Pool, 0, 10)
	require.NoError(t, err)
	require.Len(t, stored, 2)
	assert.JSONEq(t, `{"who": "ada", "trace": "t-2"}`, string(stored[0].Metadata))
	assert.JSONEq(t, `{"who": "grace", "n": 1.50, "trace": "t-2"}`, string(stored[1].Metadata))
}
