package bench

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Partitions(b.ctx, PartitionsOptions{Partitions: []int{4, 16}, Events: 1200, Timed: 3, Rate: 100, Rounds: 1})
	require.NoError(t, err)
	require.Len(t, r.Rows, 2)
	for i, row := range r.Rows {
		assert.Equal(t, []int{4, 16}[i], row.Partitions)
		assert.Positive(t, row.Nothing)
		assert.Positive(t, row.UpsertRatio)
		assert.Positive(t, row.Quiet.P50)
	}
	assert.InDelta(t, 1, r.Rows[0].NothingRatio, 1e-9)
	assert.InDelta(t, r.Rows[0].Quiet.P50/r.Rows[1].Quiet.P50, r.Rows[1].QuietRatio, 1e-9, "above 1 is better")
	assert.Equal(t, []int32{4, 16}, value[[]int32](t, b, "select array_agg(distinct partitions order by partitions) from projections"))
	assert.EqualValues(t, 1200+2*3, value[int64](t, b, countLog))
}
