package catchup_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// fuzzed is a database that the cases of a fuzz target share, one after the other.
func fuzzed(f *testing.F) (*testdb.DB, catchup.Log, catchup.Token) {
	f.Helper()
	db := testdb.New(f)
	log, err := catchup.Open(context.Background(), db.Pool)
	require.NoError(f, err)
	token, err := catchup.CurrentToken(context.Background(), db.Pool)
	require.NoError(f, err)
	return db, log, token
}

// An appending transaction writes down the position that it may begin at in 40 bits of a lock, and a reader unfolds them
// around a head that has moved on since. The two must agree at every position, up to the spread that is allowed.
func FuzzLowWater(f *testing.F) {
	const spread = int64(1) << 39 // which the highest head is less than this above the lowest open append
	for _, low := range []int64{1, 1<<31 - 2, 1<<32 - 1, 1<<39 - 1, 1<<40 - 1, 1 << 40, 1<<50 + 12345, 1<<62 - 3} {
		f.Add(low, int64(0))
		f.Add(low, int64(1))
		f.Add(low, spread-1)
	}
	db, log, token := fuzzed(f)
	const set = "select setval($1::bigint::oid::regclass, $2)"
	f.Fuzz(func(t *testing.T, low, ahead int64) {
		low, ahead = low&(1<<62-1), ahead&(spread-1)
		if low == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := db.Pool.Exec(ctx, set, int64(log.Sequence), low)
		require.NoError(t, err)
		tx, err := db.Pool.Begin(ctx)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(ctx) }()
		var position int64
		require.NoError(t, tx.QueryRow(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('t', 'a', 1, 'e', '{}') returning global_position`).Scan(&position))
		require.Equal(t, low+1, position)
		head := max(position, low+ahead)
		_, err = db.Pool.Exec(ctx, set, int64(log.Sequence), head)
		require.NoError(t, err)

		batch, err := catchup.NewReader(db.Pool, log, token, allSlots(), low).Next(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, head, batch.Head)
		require.Equal(t, low, batch.Settled)
		require.Equal(t, 1, batch.Holders)
		require.Empty(t, batch.Events)
		require.Equal(t, low, batch.To)
	})
}

// The set of slots that a reader sends to the server means there what it means here: the slots of the partitions it is made of.
func FuzzSlotSet(f *testing.F) {
	f.Add([]byte{0}, uint8(0))
	f.Add([]byte{1, 3, 31}, uint8(5))
	f.Add([]byte{0, 1, 255}, uint8(10))
	f.Add([]byte{}, uint8(3))
	db := testdb.New(f)
	f.Fuzz(func(t *testing.T, some []byte, bits uint8) {
		total := 1 << (bits % 11)
		var partitions []int
		for i, b := range some {
			partitions = append(partitions, (int(b)*(i+1))%total)
		}
		set := catchup.SlotsOf(partitions, total)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		rows, err := db.Pool.Query(ctx, "select slot from generate_series(0, 1023) slot where get_bit($1::bytea, slot) = 1", set[:])
		require.NoError(t, err)
		there, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		require.NoError(t, err)
		var here []int32
		for slot := range int16(catchup.Slots) {
			require.Equal(t, slices.Contains(partitions, partition.Of(slot, total)), set.Has(slot), "slot %d", slot)
			if set.Has(slot) {
				here = append(here, int32(slot))
			}
		}
		require.ElementsMatch(t, here, there)
		require.Equal(t, len(here) == catchup.Slots, set.Full())
	})
}
