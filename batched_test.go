package rouse_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// queuer counts how it was called and has all the optional methods.
type queuer struct {
	queue  func(batch *pgx.Batch, ev eventstore.Event) error
	resets chan struct{}
}

func (queuer) Name() string                                        { return "queued" }
func (queuer) EventTypes() []string                                { return []string{"kept", "bad", "silent"} }
func (queuer) OnFailure() rouse.OnFailure                          { return rouse.Skip }
func (q queuer) Queue(batch *pgx.Batch, ev eventstore.Event) error { return q.queue(batch, ev) }

func (q queuer) Reset(ctx context.Context, tx pgx.Tx) error {
	q.resets <- struct{}{}
	_, err := tx.Exec(ctx, "delete from done")
	return err
}

// The statements of many events travel together, and a Queuer's optional methods count as those of a projection.
func TestBatchedSendsTheStatementsOfManyEventsTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, c := b.counted()
	q := queuer{resets: make(chan struct{}, 1), queue: func(batch *pgx.Batch, ev eventstore.Event) error {
		switch ev.Type {
		case "silent":
			return nil
		case "bad":
			batch.Queue("select 1 / $1::int", 0) // which must not pass for a broken fence
		}
		batch.Queue(doneSQL, "queued", ev.GlobalPosition)
		return nil
	}}
	w := b.start(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(q)}, Retry: rouse.RetryPolicy{Tries: 1}}).WaitStarted()
	require.NoError(t, w.Drain(b.ctx))
	before := c.trips.Load()
	types := make([]string, 0, 200)
	for range 100 {
		types = append(types, "kept", "other")
	}
	at := b.appendAll(types...)
	require.NoError(t, w.Drain(b.ctx))
	require.Less(t, c.trips.Load()-before, int64(50), "not one for each event")
	var want []int64
	for i := 0; i < len(at); i += 2 {
		want = append(want, at[i])
	}
	require.Equal(t, want, b.done("queued"))

	b.appendAll("bad", "silent")
	want = append(want, b.appendAll("kept", "kept")...)
	require.NoError(t, w.Drain(b.ctx))
	require.Equal(t, want, b.done("queued"), "what fails is found by itself, and skipped")

	require.NoError(t, w.Stop())
	b.exec("update projections set reset_to = 0 where projection_name = 'queued'")
	require.NoError(t, b.drain(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(q)}, Retry: rouse.RetryPolicy{Tries: 1}}))
	require.Len(t, q.resets, 1)
	require.Equal(t, want, b.done("queued"))
}

func TestBatchedReportsTheErrorOfAQueuer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	no := errors.New("no")
	var seen error
	b.append("kept")
	q := queuer{queue: func(*pgx.Batch, eventstore.Event) error { return no }}
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(q)}, Retry: rouse.RetryPolicy{Tries: 1}, Observer: rouse.Observer{
		GaveUp: func(_ string, _ eventstore.Event, what rouse.OnFailure, err error) {
			require.Equal(t, rouse.Skip, what)
			seen = err
		},
	}}))
	require.ErrorIs(t, seen, no)
}
