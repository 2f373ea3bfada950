package catchup_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// history is a database with so many events of 1000 aggregates.
func history(b *testing.B, events int) (*testdb.DB, func(slots catchup.SlotSet, after int64) *catchup.Reader) {
	b.Helper()
	db, ctx := testdb.New(b), context.Background()
	_, err := db.Pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'aggregate-' || n % 1000, n / 1000 + 1, 'happened', '{"amount": 100, "currency": "EUR"}'
		from generate_series(0, $1::int - 1) n`, events)
	require.NoError(b, err)
	log, err := catchup.Open(ctx, db.Pool)
	require.NoError(b, err)
	token, err := catchup.CurrentToken(ctx, db.Pool)
	require.NoError(b, err)
	return db, func(slots catchup.SlotSet, after int64) *catchup.Reader {
		return catchup.NewReader(db.Pool, log, token, slots, after)
	}
}

// BenchmarkReader reads a history in batches of 500, as a worker does that is far behind. One operation is one batch.
func BenchmarkReader(b *testing.B) {
	_, newReader := history(b, 10_000)
	slots := map[string]catchup.SlotSet{"all": allSlots(), "quarter": catchup.SlotsOf([]int{0}, 4)}
	for _, name := range []string{"all", "quarter"} {
		b.Run(name, func(b *testing.B) {
			reader := newReader(slots[name], 0)
			b.ReportAllocs()
			events := 0
			for b.Loop() {
				batch, err := reader.Next(b.Context(), 500)
				require.NoError(b, err)
				events += len(batch.Events)
				if !batch.More {
					reader.Turn(0, slots[name])
				}
			}
			b.ReportMetric(float64(events)/float64(b.N), "events/op")
		})
	}
}

// BenchmarkLooks are the three ways in which a reader that had read everything looks at the log: after a wake, for one event
// (Glance, and Next behind it), and when nothing has woken it (Peek).
func BenchmarkLooks(b *testing.B) {
	const events = 1000
	_, newReader := history(b, events)
	b.Run("glance", func(b *testing.B) {
		reader := newReader(allSlots(), 0)
		b.ReportAllocs()
		for b.Loop() {
			reader.Turn(events-1, allSlots())
			batch, ok, err := reader.Glance(b.Context())
			require.NoError(b, err)
			require.True(b, ok && len(batch.Events) == 1)
		}
	})
	b.Run("next", func(b *testing.B) {
		reader := newReader(allSlots(), events)
		b.ReportAllocs()
		for b.Loop() {
			batch, err := reader.Next(b.Context(), 500)
			require.NoError(b, err)
			require.Empty(b, batch.Events)
		}
	})
	b.Run("peek", func(b *testing.B) {
		reader := newReader(allSlots(), events)
		b.ReportAllocs()
		for b.Loop() {
			_, ok, err := reader.Peek(b.Context())
			require.NoError(b, err)
			require.True(b, ok)
		}
	})
}

// BenchmarkSave saves one partition, as in a calm log, and 32, as in catching up. One operation is a transaction of its own.
func BenchmarkSave(b *testing.B) {
	db, ctx := testdb.New(b), context.Background()
	token, err := catchup.CurrentToken(ctx, db.Pool)
	require.NoError(b, err)
	save := catchup.Save{Projection: "p", Instance: eventstore.NewID().String(), Token: token}
	for p := range 32 {
		save.Fences = append(save.Fences, catchup.Fence{Partition: p, Epoch: 1})
	}
	_, err = db.Pool.Exec(ctx, "insert into projections (projection_name, partitions) values ('p', 32)")
	require.NoError(b, err)
	_, err = db.Pool.Exec(ctx, `insert into projection_checkpoints (projection_name, partition, owner, epoch, last_global_position)
		select 'p', n, $1::text::uuid, 1, 0 from generate_series(0, 31) n`, save.Instance)
	require.NoError(b, err)
	for _, of := range []struct {
		name       string
		partitions int
	}{{"one", 1}, {"all", 32}} {
		b.Run(of.name, func(b *testing.B) {
			_, err := db.Pool.Exec(ctx, "update projection_checkpoints set last_global_position = 0")
			require.NoError(b, err)
			save := save
			save.Fences = slices.Clone(save.Fences[:of.partitions])
			b.ReportAllocs()
			for b.Loop() {
				save.To = save.Fences[0].Floor + 1
				var batch pgx.Batch
				batch.Queue("begin isolation level read committed read write")
				save.Queue(&batch)
				batch.Queue("commit")
				require.NoError(b, db.Pool.SendBatch(b.Context(), &batch).Close())
				for i := range save.Fences {
					save.Fences[i].Floor = save.To
				}
			}
		})
	}
}
