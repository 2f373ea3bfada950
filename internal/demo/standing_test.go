package demo

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/partition"
)

const (
	instanceA = "01900000-0000-7000-8000-00000000000a"
	instanceB = "01900000-0000-7000-8000-00000000000b"
)

// own registers a worker that owns partitions.
func own(t *testing.T, pool *pgxpool.Pool, instance, label string, partitions ...int) {
	t.Helper()
	require.NoError(t, partition.Member{Instance: instance, Label: label, States: map[string]string{Name: "live"}}.Heartbeat(t.Context(), pool))
	mustExec(t, pool, "update projection_checkpoints set owner = $1::text::uuid where partition = any ($2::int[])", instance, partitions)
}

func TestStandingNamesTheLivingOwners(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := poolIn(t, mode)
			s, err := Look(t.Context(), pool)
			require.NoError(t, err)
			assert.Empty(t, s.Owners, "no worker has started yet")

			_, err = partition.Ensure(t.Context(), pool, Name, 4)
			require.NoError(t, err)
			own(t, pool, instanceA, "a", 0, 2)
			own(t, pool, instanceB, "b", 1)
			before, err := Now(t.Context(), pool)
			require.NoError(t, err)
			s, err = Look(t.Context(), pool)
			require.NoError(t, err)
			assert.Equal(t, []string{"a", "b", "a", ""}, s.Owners)
			assert.Equal(t, []int{0, 2}, s.Of("a"))
			assert.Empty(t, s.Of("c"))
			assert.True(t, s.At.After(before.At))

			mustExec(t, pool, "update projection_workers set heartbeat_at = heartbeat_at - interval '1 hour' where label = 'a'")
			s, err = Look(t.Context(), pool)
			require.NoError(t, err)
			assert.Equal(t, []string{"", "b", "", ""}, s.Owners)
		})
	}
}

// TestTakeoverIsTheFirstEventOfThePartitionsElsewhere: neither what the worker itself has handled counts, nor other partitions,
// nor what was handled before.
func TestTakeoverIsTheFirstEventOfThePartitionsElsewhere(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := poolIn(t, mode)
			ids := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			log(t, pool, 1, ids...)
			before := Standing{Owners: []string{"victim", "other"}}
			own := func(id string) (victims bool) {
				require.NoError(t, pool.QueryRow(t.Context(), "select slot & 1 = 0 from events where aggregate_id = $1 limit 1", id).Scan(&victims))
				return victims
			}
			var mine, others string // an aggregate of either partition
			for _, id := range ids {
				if own(id) {
					mine = id
				} else {
					others = id
				}
			}
			require.NotEmpty(t, mine)
			require.NotEmpty(t, others)
			handled := func(id, label string) {
				mustExec(t, pool, `insert into demo_log (global_position, event_id, aggregate_type, aggregate_id, aggregate_version, worker, appended_at)
					select global_position, event_id, aggregate_type, aggregate_id, aggregate_version, $2, created_at from events where aggregate_id = $1 order by 1 limit 1`, id, label)
			}
			handled(mine, "other")
			since, err := Now(t.Context(), pool)
			require.NoError(t, err)
			assert.EqualValues(t, len(ids), since.Position)
			taken := func() Takeover {
				got, err := TakenOver(t.Context(), pool, since, before, "victim")
				require.NoError(t, err)
				return got
			}
			handled(mine, "victim")
			handled(others, "other")
			assert.Equal(t, Takeover{}, taken())

			insert := "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', $1, 2, 'X', '{}')"
			mustExec(t, pool, insert, others)
			assert.False(t, taken().Appended)
			mustExec(t, pool, insert, mine)
			assert.True(t, taken().Appended)

			handled(mine, "other")
			first := taken().First
			require.NotNil(t, first)
			assert.True(t, first.After(since.At))
			handled(mine, "other")
			assert.Equal(t, first, taken().First)
		})
	}
}
