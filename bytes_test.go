package rouse_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// weighed is a projection that writes down what it has done, and sends the bytes of each batch.
type weighed struct {
	projection
	batches chan<- int
}

func (p weighed) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	bytes := 0
	for _, ev := range events {
		bytes += len(ev.Payload)
		batch.Queue(doneSQL, p.name, ev.GlobalPosition)
	}
	p.batches <- bytes
	return nil
}

// appendLarge appends n events whose payload has size bytes, in one transaction.
func (b *bundle) appendLarge(n, size int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, 'e', ('"' || repeat('y', $2::int - 2) || '"')::json from generate_series(1, $1::int)`, n, size)
}

// A batch has no more bytes than Config.BatchBytes, or one event: far behind and at the end of the log.
func TestBatchBytes_BoundsABatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const most, size = 64 << 10, 10_000
	b.appendLarge(50, size)
	batches := make(chan int, 1000) // for all of them
	w := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{weighed{projection{name: "a"}, batches}, weighed{projection{name: "b"}, batches}}, BatchBytes: most,
	}).WaitStarted()
	w.WaitState("a", rouse.StateLive)
	w.WaitState("b", rouse.StateLive)
	b.appendLarge(50, size)
	b.appendLarge(1, 5*most)
	for _, name := range []string{"a", "b"} {
		b.waitDone(name, 101)
	}
	w.MustStop()
	close(batches)
	alone := 0
	for bytes := range batches {
		if bytes == 5*most {
			alone++
			continue
		}
		require.LessOrEqual(t, bytes, most, "the bytes of a batch")
	}
	require.Equal(t, 2, alone)
}

// Bounds that cannot be meant are refused.
func TestBatchBytes_IsFromSixtyFourKilobytesToOneGigabyte(t *testing.T) {
	t.Parallel()
	for bytes, refused := range map[int]bool{-1: true, 1000: true, 64 << 10: false, 1 << 30: false, 1<<30 + 1: true} {
		_, err := rouse.New(nil, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, BatchBytes: bytes})
		if refused {
			require.ErrorIs(t, err, rouse.ErrConfig)
			require.ErrorContains(t, err, "BatchBytes")
		} else {
			require.NoError(t, err)
		}
	}
}
