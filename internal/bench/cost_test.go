package bench

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
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

// TestEventAtRestAllocatesLittle: of what a worker and pgx allocate for an event, nothing comes back unnoticed. It is not beside other tests,
// whose allocations would be counted. What happens now and then, whatever the events, counts for more of them on a busy machine, so the
// best of a few rounds is taken.
func TestEventAtRestAllocatesLittle(t *testing.T) {
	b := setup(t, nil)
	require.NoError(t, b.makeFloor(b.ctx)) // which has the table that the handler counts in
	const most = 172                       // some 150 are needed
	var r CostResult
	ours := b.costSides(&r)[2]
	for round := range 3 {
		b.round++
		require.NoError(t, b.costRound(b.ctx, CostOptions{Events: 100, Rate: 100}, &ours))
		if r.Rouse.Rounds[round].Allocations <= most {
			return
		}
	}
	t.Fatalf("an event allocates more than %d times: %+v", most, r.Rouse.Rounds)
}

// TestStartIsNoRest: a side that is still at work on its start when the first events are handled, and that comes to rest at one of
// those which are counted, costs no less than one that was at rest. If the rest were measured in between, it would be full of that.
func TestStartIsNoRest(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	require.NoError(t, b.makeFloor(b.ctx))
	var r CostResult
	side := b.costSides(&r)[0]
	conns, start, appended := make(chan *pgx.Conn, 1), side.start, side.append
	side.start = func(ctx context.Context) (costRun, error) {
		conn, err := b.connect(ctx)
		require.NoError(t, err)
		conns <- conn
		return start(ctx)
	}
	enough, began, ended := make(chan struct{}), false, make(chan struct{})
	side.append = func(ctx context.Context, conn *pgx.Conn, n int) error {
		switch {
		case !began:
			began = true
			starting := <-conns
			go func() {
				defer close(ended)
				defer closeConn(starting)
				for {
					select {
					case <-enough:
						return
					default:
						_, _ = starting.Exec(b.ctx, "select")
					}
				}
			}()
		case n == 21: // the first one that is counted
			close(enough)
			<-ended
		}
		return appended(ctx, conn, n)
	}
	require.NoError(t, b.costRound(b.ctx, CostOptions{Events: 3, Rate: 50}, &side))
	assert.Greater(t, r.Floor.Rounds[0].Statements, 4.99)
	assert.InDelta(t, 0, r.Floor.Rounds[0].Rest, 1e-9)
}
