package partition_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/partition"
)

// ensureAll creates those of some projections that are not there, as a worker does, and returns the numbers of partitions of those
// that are whole.
func (b *bundle) ensureAll(names []string, partitions int) (map[string]int, error) {
	var missing []partition.New
	found, err := partition.Find(b.ctx, b.Pool, names)
	for _, name := range names {
		if err == nil && !found[name].Exists {
			missing = append(missing, partition.New{Name: name, Partitions: partitions})
		}
	}
	if err == nil && len(missing) > 0 {
		if err = partition.Create(b.ctx, b.Pool, missing); err == nil {
			found, err = partition.Find(b.ctx, b.Pool, names)
		}
	}
	have := map[string]int{}
	for name, kept := range found {
		if kept.Partitions > 0 {
			have[name] = kept.Partitions
		}
	}
	return have, err
}

// Many projections are made at once, by many processes at once, and each is whole.
func TestEnsureAll_MakesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := partition.Ensure(b.ctx, b.Pool, "old", 4)
	require.NoError(t, err)
	names, want := []string{"old"}, map[string]int{"old": 4}
	for i := range 50 {
		name := fmt.Sprintf("new %d", i)
		names, want[name] = append(names, name), 8
	}
	var wg sync.WaitGroup
	for n := range 4 {
		mine := append([]string{}, names...)
		for i := range mine { // another order for each
			k := (i * 7 * (n + 1)) % len(mine)
			mine[i], mine[k] = mine[k], mine[i]
		}
		wg.Go(func() {
			have, err := b.ensureAll(mine, 8)
			require.NoError(t, err)
			require.Equal(t, want, have)
		})
	}
	wg.Wait()
	require.EqualValues(t, 4+50*8, b.int("select count(*) from projection_checkpoints"))
	_, err = b.ensureAll(append(names, "another"), 12)
	require.ErrorIs(t, err, partition.ErrCount)
}

// A projection that an operator changes or resets, for minutes perhaps, holds up no other: one that is not whole is left out.
func TestEnsureAll_WaitsForNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.ensureAll([]string{"p", "q", "r"}, 4)
	require.NoError(t, err)
	b.exec("delete from projection_checkpoints where projection_name = 'q' and partition = 3")
	tx := b.begin()
	_, err = tx.Exec(b.ctx, "select from projections for no key update")
	require.NoError(t, err)
	have, err := b.ensureAll([]string{"p", "q", "r"}, 4)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"p": 4, "r": 4}, have)
	require.NoError(t, tx.Rollback(b.ctx))
	_, err = partition.Ensure(b.ctx, b.Pool, "q", 4)
	require.NoError(t, err)
	have, err = b.ensureAll([]string{"q"}, 4)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"q": 4}, have)
}

// The standings of many are those of each.
func TestLookAll_ReturnsTheStandingOfEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.ensureAll([]string{"p", "q"}, 4)
	require.NoError(t, err)
	m := b.member("one", 0)
	b.claim(m, false, 0, 2)
	b.exec("update projections set state = 'paused' where projection_name = 'q'")
	all, err := partition.LookAll(b.ctx, b.Pool, []string{"p", "q", "none"})
	require.NoError(t, err)
	require.Len(t, all, 2)
	for name, standing := range all {
		one, err := partition.Look(b.ctx, b.Pool, name)
		require.NoError(t, err)
		require.Equal(t, one, standing)
	}
	require.Equal(t, []int{0, 2}, all["p"].Owned(m.Instance))
	require.Len(t, all["p"].Members, 1)
	require.Empty(t, all["q"].Members, "its member runs p")
	require.Empty(t, all["q"].Owned(m.Instance))
	require.True(t, all["q"].Paused)
	require.False(t, all["p"].Paused)
	_, err = partition.Look(b.ctx, b.Pool, "none")
	require.ErrorContains(t, err, "look who shares none")
}
