package catchup_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Appends of many sizes that commit late, in any order, or not at all, beside a reader that glances and looks in full as it likes: each
// event that was committed is handed out, once and in the order of the log, also where more wait than a glance brings.
func TestGlancesBetweenFullLooksHandOutEachEventOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(pgx.QueryExecModeCacheStatement, 8, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // what a test does need not be secret
	sizes, limits := []int{1, 2, 50, 99, 100, 101, 150}, []int{1, 10, 100, 1000}
	size := func() int { return sizes[random.IntN(len(sizes))] }

	reader := b.reader(pool, 0)
	type open struct {
		tx        pgx.Tx
		positions []int64
	}
	var opened []open
	var committed, found []int64
	handedOutByGlances := 0
	for range 600 {
		switch what := random.IntN(10); {
		case what < 2:
			committed = append(committed, b.append(pool, size())...)
		case what == 2 && len(opened) < 4:
			tx, err := pool.Begin(b.ctx)
			require.NoError(t, err)
			opened = append(opened, open{tx, b.append(tx, size())})
		case what < 5 && len(opened) > 0:
			i := random.IntN(len(opened))
			if random.IntN(3) == 0 {
				require.NoError(t, opened[i].tx.Rollback(b.ctx))
			} else {
				require.NoError(t, opened[i].tx.Commit(b.ctx))
				committed = append(committed, opened[i].positions...)
			}
			opened = slices.Delete(opened, i, i+1)
		case what < 8:
			batch, ok, err := reader.Glance(b.ctx, random.IntN(2) == 0)
			require.NoError(t, err)
			if !ok {
				require.Empty(t, batch.Events)
				break
			}
			for _, ev := range batch.Events {
				found = append(found, ev.GlobalPosition)
			}
			handedOutByGlances += len(batch.Events)
		default:
			positions, _ := b.next(reader, limits[random.IntN(len(limits))])
			found = append(found, positions...)
		}
		slices.Sort(committed)
		require.LessOrEqual(t, len(found), len(committed))
		require.True(t, slices.Equal(committed[:len(found)], found), "of what is committed so far, the first are handed out, each once and in order")
	}
	for _, o := range opened {
		require.NoError(t, o.tx.Rollback(b.ctx))
	}
	for more := true; more; {
		positions, batch := b.next(reader, 1000)
		found, more = append(found, positions...), batch.More
	}
	require.True(t, slices.Equal(committed, found))
	require.NotZero(t, handedOutByGlances)
}
