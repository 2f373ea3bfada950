package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// A reader of some types is sent these alone, in every mode, and its cursor ends where it would without them.
func TestReaderOfSomeTypesIsSentNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select case n % 2 when 0 then 'order' else 'user' end, 'a' || n, 1, case n % 5 when 0 then 'rare' else 'often' end, '{}'
		from generate_series(1, 100) n`)
	last := b.int("select max(global_position) from events")
	half := catchup.SlotsOf([]int{1}, 2)
	for _, mode := range modes {
		pool := b.pool(mode, 2, nil)
		for _, c := range []struct {
			only  catchup.Types
			where string
		}{
			{catchup.Types{}, "true"},
			{catchup.Types{Events: []string{"rare"}}, "event_type = 'rare'"},
			{catchup.Types{Aggregates: []string{"user"}}, "aggregate_type = 'user'"},
			{catchup.Types{Events: []string{"rare", "often"}, Aggregates: []string{"order", "user"}}, "true"},
			{catchup.Types{Events: []string{"rare"}, Aggregates: []string{"order"}}, "event_type = 'rare' and aggregate_type = 'order'"},
			{catchup.Types{Events: []string{"never"}}, "false"},
		} {
			for name, slots := range map[string]catchup.SlotSet{"true": allSlots(), "slot % 2 = 1": half} {
				rows, err := b.Pool.Query(b.ctx, "select global_position from events where "+c.where+" and "+name+" order by 1")
				require.NoError(t, err)
				want := b.positions(rows)
				if want == nil {
					want = []int64{}
				}
				reader := catchup.NewReader(pool, b.log, b.token, slots, 0)
				reader.Only(c.only)
				got, to := []int64{}, int64(0)
				for more := true; more; {
					found, batch := b.next(reader, 7)
					require.Equal(t, to, batch.From)
					require.Equal(t, len(c.only.Events)+len(c.only.Aggregates) > 0, batch.Partial)
					got, to, more = append(got, found...), batch.To, batch.More
				}
				require.Equal(t, want, got, "%v where %s", c.only, name)
				require.Equal(t, last, to)
			}
		}
	}
}

// A hole is a hole also for a reader of other types than its neighbours: what an open append may still fill is waited for.
func TestReaderOfSomeTypesWaitsForOpenAppends(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	reader.Only(catchup.Types{Events: []string{"wanted"}})
	insert := func(q querier, eventType string) int64 {
		rows, err := q.Query(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', gen_random_uuid(), 1, $1, '{}') returning global_position`, eventType)
		require.NoError(t, err)
		return b.positions(rows)[0]
	}
	open := b.begin(pgx.ReadCommitted)
	hole := insert(open, "wanted")
	insert(b.Pool, "other")
	after := insert(b.Pool, "wanted")
	found, batch := b.next(reader, 10)
	require.Empty(t, found)
	require.Less(t, batch.To, hole)
	require.True(t, batch.Blocked)
	require.NoError(t, open.Commit(b.ctx))
	found, batch = b.next(reader, 10)
	require.Equal(t, []int64{hole, after}, found)
	require.Equal(t, after, batch.To)
}

// A reader that is turned goes on from there, for the other slots.
func TestReaderTurnsToAnotherPositionAndOtherSlots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := b.append(b.Pool, 20)
	reader := b.reader(b.Pool, all[9])
	found, _ := b.next(reader, 100)
	require.Equal(t, all[10:], found)
	reader.Turn(all[4], catchup.SlotsOf([]int{1}, 2))
	found, batch := b.next(reader, 100)
	want := []int64{}
	for _, p := range b.inPartitions(2, 1) {
		if p > all[4] {
			want = append(want, p)
		}
	}
	require.Equal(t, want, found)
	require.Equal(t, all[4], batch.From)
	require.Equal(t, all[19], batch.To)
}
