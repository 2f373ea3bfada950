package bench

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCost: an append and its effect are some statements on each side, and every event is handled.
func TestCost(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Cost(b.ctx, CostOptions{Events: 10, Rate: 50, Rounds: 1})
	require.NoError(t, err)
	for name, side := range map[string]CostSide{"floor": r.Floor, "one": r.One} {
		assert.InDelta(t, 5, side.Statements, 0.01, name) // append, read, setting, effect, checkpoint
		assert.InDelta(t, 2, side.Ends, 0.01, name)
		assert.InDelta(t, 3, side.Trips, 0.01, name)
	}
	assert.Greater(t, r.Rouse.Statements, 2.0, "append, read, save")
	assert.NotEmpty(t, r.Rouse.Lines)
	requireServer(t, r.Server)
}
