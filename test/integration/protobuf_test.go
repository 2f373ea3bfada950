package integration_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/apipb"
	"google.golang.org/protobuf/types/known/typepb"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

// protobuf is a codec for messages of protocol buffers, in their form as JSON, which a payload has to be.
type protobuf struct{}

func (protobuf) Encode(v any) ([]byte, error) {
	message, is := v.(proto.Message)
	if !is {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return protojson.Marshal(message)
}

func (protobuf) Decode(data []byte, v any) error {
	message, is := v.(proto.Message)
	if !is {
		return fmt.Errorf("%T is no message", v)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, message)
}

// The values of a codec may be pointers, as those of messages are: they are registered, upcast, handled and appended as such.
func TestEventsMayBeMessagesOfProtocolBuffers(t *testing.T) {
	t.Parallel()
	registry := &events.Registry{}
	events.Register[*apipb.Method]("MethodAdded", 2, events.In(registry), events.With(protobuf{}),
		events.Upcast(func(v1 *typepb.Field) *apipb.Method { return &apipb.Method{Name: v1.GetName() + " from 1"} }))
	ctx, db := t.Context(), testdb.New(t)
	_, err := db.Pool.Exec(ctx, "create table methods (id text, name text, type text)")
	require.NoError(t, err)
	all, err := registry.Encode(
		&apipb.Method{Name: "Get", RequestTypeUrl: "type.example/Request"},
		eventstore.NewEvent{Type: "MethodAdded", Version: 1, Payload: []byte(`{"name": "Put", "kind": "TYPE_STRING", "added later": 1}`)},
		eventstore.NewEvent{Type: "MethodAdded", Version: 2, Payload: []byte(`{"name": 7}`)})
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"Get","requestTypeUrl":"type.example/Request"}`, string(all[0].Payload))
	require.NoError(t, pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "api", ID: "1"}, eventstore.NoStream(), all...)
		return err
	}))
	p := projection.New("methods", projection.Events(registry), projection.OnFailure(rouse.Skip),
		projection.On(func(ctx context.Context, tx pgx.Tx, e *apipb.Method, ev eventstore.Event) error {
			_, err := tx.Exec(ctx, "insert into methods values ($1, $2, $3)", ev.AggregateID, e.GetName(), e.GetRequestTypeUrl())
			return err
		}))
	require.NoError(t, workertest.Drain(t, db.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
	rows, err := db.Pool.Query(ctx, "select name || ' ' || type from methods order by name")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	assert.Equal(t, []string{"Get type.example/Request", "Put from 1 "}, names)
}
