package catchup_test

import (
	"context"
	"strconv"
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
			batch, ok, err := reader.Glance(b.Context(), false)
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

// BenchmarkSave saves one partition, as in a calm log, 32, as in catching up, and as many as there can be. One operation is a
// transaction of its own.
func BenchmarkSave(b *testing.B) {
	db, ctx := testdb.New(b), context.Background()
	token, err := catchup.CurrentToken(ctx, db.Pool)
	require.NoError(b, err)
	instance := eventstore.NewID().String()
	for _, partitions := range []int{1, 32, 1024} {
		name := strconv.Itoa(partitions)
		_, err = db.Pool.Exec(ctx, "insert into projections (projection_name, partitions) values ($1, $2)", name, partitions)
		require.NoError(b, err)
		_, err = db.Pool.Exec(ctx, `insert into projection_checkpoints (projection_name, partition, owner, epoch, last_global_position)
			select $1, n, $2::text::uuid, 1, 0 from generate_series(0, $3::int - 1) n`, name, instance, partitions)
		require.NoError(b, err)
		save := catchup.Save{Projection: name, Instance: instance, Token: token}
		for p := range partitions {
			save.Fences = append(save.Fences, catchup.Fence{Partition: p, Epoch: 1})
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				save.To, save.Watch = save.Fences[0].Floor+1, n%catchup.WatchEvery == 0
				var saved catchup.Saved
				var batch pgx.Batch
				batch.Queue("begin isolation level read committed read write")
				save.Queue(&batch).QueryRow(func(row pgx.Row) error { return row.Scan(&saved) })
				batch.Queue("commit")
				require.NoError(b, db.Pool.SendBatch(b.Context(), &batch).Close())
				spots := save.Spots(saved)
				for i := range save.Fences {
					save.Fences[i].Floor = save.To
					if spots != nil {
						save.Fences[i].Spot = spots[i]
					}
				}
			}
		})
	}
}
