package projection_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/projection"
)

func TestListShowsEveryProjectionWithThePartitionThatIsFurthestBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	list, err := projection.List(b.ctx, b.Pool)
	require.NoError(t, err)
	require.Equal(t, []projection.Listed{}, list, "an empty list, not null, in JSON")

	_, err = partition.Ensure(b.ctx, b.Pool, "q", 2)
	require.NoError(t, err)
	b.ensured(4)
	one := b.member("one")
	b.exec("update projection_workers set lease_ttl_ms = 3600000")
	b.claim(one, 0, 1, 2)
	require.NoError(t, projection.Pause(b.ctx, b.Pool, "q"))
	tx := b.begin()
	appended, err := eventstore.Append(b.ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(),
		eventstore.NewEvent{Type: "placed", Payload: []byte(`{}`)}, eventstore.NewEvent{Type: "paid", Payload: []byte(`{}`)})
	require.NoError(t, err)
	require.NoError(t, tx.Commit(b.ctx))
	last := appended.Positions[1]
	b.exec("update projection_checkpoints set last_global_position = $1 where projection_name = 'p' and partition <> (select slot & 3 from events limit 1)", last)

	list, err = projection.List(b.ctx, b.Pool)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.GreaterOrEqual(t, list[0].LagSeconds, 0.0)
	for i := range list {
		list[i].LagSeconds = 0
	}
	require.Equal(t, []projection.Listed{
		{Name: "p", Partitions: 4, Unowned: 1, State: "running", LagEvents: last},
		{Name: "q", Partitions: 2, Unowned: 2, State: "paused", LagEvents: last},
	}, list)
}
