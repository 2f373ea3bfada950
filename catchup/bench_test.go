package catchup_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// BenchmarkReader reads a history in batches of 500, as a worker does that is far behind. One operation is one batch.
func BenchmarkReader(b *testing.B) {
	db, ctx := testdb.New(b), context.Background()
	_, err := db.Pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'aggregate-' || n % 1000, n / 1000 + 1, 'happened', '{"amount": 100, "currency": "EUR"}' from generate_series(0, 9999) n`)
	require.NoError(b, err)
	log, err := catchup.Open(ctx, db.Pool)
	require.NoError(b, err)
	token, err := catchup.CurrentToken(ctx, db.Pool)
	require.NoError(b, err)
	slots := map[string]catchup.SlotSet{"all": catchup.SlotsOf([]int{0}, 1), "quarter": catchup.SlotsOf([]int{0}, 4)}
	for _, name := range []string{"all", "quarter"} {
		b.Run(name, func(b *testing.B) {
			reader := catchup.NewReader(db.Pool, log, token, slots[name], 0)
			b.ReportAllocs()
			events := 0
			for b.Loop() {
				batch, err := reader.Next(ctx, 500)
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
