package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLadder: each step has its events, and neighbours are compared both ways.
func TestLadder(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Ladder(b.ctx, LadderOptions{Rates: []float64{100, 300}, Length: 300 * time.Millisecond, Writers: 2, Rounds: 1})
	require.NoError(t, err)
	require.Len(t, r.Steps, 3)
	for i, s := range r.Steps {
		assert.InDelta(t, []float64{100, 300, 100}[i], s.Rate, 0)
		assert.Equal(t, i == 2, s.Down)
		assert.Positive(t, s.Rouse.P50)
		assert.Positive(t, s.FloorHandled)
	}
	assert.EqualValues(t, 30+90+30, value[int64](t, b, countLog))
	assert.GreaterOrEqual(t, r.Worst, 1.0)

	r = LadderResult{Steps: []LadderStep{
		{Rate: 1, Rouse: Percentiles{P50: 1}, Floor: Percentiles{P50: 1}}, {Rate: 2, Rouse: Percentiles{P50: 3}, Floor: Percentiles{P50: 2}},
		{Rate: 3, Rouse: Percentiles{P50: .5}, Floor: Percentiles{P50: 2}},
	}}
	r.compare()
	assert.InDelta(t, 6, r.Worst, 1e-9)
	assert.Equal(t, [2]float64{2, 3}, r.Between)
	assert.InDelta(t, 2, r.FloorWorst, 1e-9)
}
