package rouse_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	operator "github.com/rouse-es/rouse/projection"
)

// Drain waits for a reset that is asked for and not done, and finds the read model made anew; with two workers the other one may do it.
func TestDrainWaitsForAResetThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2} {
		b := setup(t)
		hold, held := make(chan struct{}), make(chan struct{}, 10)
		goOn := sync.OnceFunc(func() { close(hold) })
		defer goOn()
		p := emptied{projection{name: "p"}, func(context.Context, pgx.Tx) error {
			held <- struct{}{}
			<-hold
			return nil
		}}
		var all []*running
		for range workers {
			all = append(all, b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p, projection{name: "q"}}}).WaitStarted())
		}
		var positions []int64
		for range 40 {
			positions = append(positions, b.append("e"))
		}
		for _, w := range all {
			require.NoError(t, w.Drain(b.ctx))
		}
		require.ElementsMatch(t, positions, b.done("p"))
		_, err := operator.Reset(b.ctx, b.Pool, "p", 0, false)
		require.NoError(t, err)
		drained := make(chan []int64, workers)
		for _, w := range all {
			go func() {
				if err := w.Drain(b.ctx); err != nil {
					t.Errorf("drain: %v", err)
				}
				drained <- b.done("p")
			}()
		}
		<-held // the read model is about to be emptied
		require.Empty(t, drained, "Drain has returned while the reset was under way")
		goOn()
		for range workers {
			<-drained
		}
		// Each has handled its own share when it returns, so all have when all have.
		require.ElementsMatch(t, positions, b.done("p"))
	}
}
