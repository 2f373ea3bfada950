package partition_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// A claim that was made out for the number of before gets nothing, also if it had begun already: it would read the events of
// both parts and save one of them.
func TestClaimForAnotherNumberOfPartitionsGetsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	one := b.member("one", 0)
	claim := partition.Claim{Projection: "p", Instance: one.Instance, Token: b.token, Partitions: []int{0, 1}, Of: 2}
	meanwhile := b.begin()
	_, err := meanwhile.Exec(b.ctx, "update projection_checkpoints set epoch = epoch + 1")
	require.NoError(t, err)
	_, err = meanwhile.Exec(b.ctx, "update projections set partitions = 4")
	require.NoError(t, err)
	_, err = meanwhile.Exec(b.ctx, "insert into projection_checkpoints (projection_name, partition) values ('p', 2), ('p', 3)")
	require.NoError(t, err)
	claimed := make(chan error, 1)
	go func() {
		_, err := claim.Claim(b.ctx, b.Pool)
		claimed <- err
	}()
	testdb.Eventually(t, patience, "the claim to wait", func() (bool, error) { return b.lockWaits() == 1, nil })
	require.NoError(t, meanwhile.Commit(b.ctx))
	require.ErrorIs(t, <-claimed, partition.ErrResized)
	require.EqualValues(t, 4, b.int("select count(*) from projection_checkpoints where owner is null"))
	claim.Of = 4
	leases, err := claim.Claim(b.ctx, b.Pool)
	require.NoError(t, err)
	require.Len(t, leases, 2)
}

// No checkpoint is made for a partition that is just being taken away: nobody would ever move it.
func TestEnsureWaitsForAResize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("insert into projections (projection_name, partitions) values ('p', 8)")
	meanwhile := b.begin()
	_, err := meanwhile.Exec(b.ctx, "select from projections for no key update")
	require.NoError(t, err)
	ensured := make(chan error, 1)
	go func() {
		_, err := partition.Ensure(b.ctx, b.Pool, "p", 0)
		ensured <- err
	}()
	testdb.Eventually(t, patience, "Ensure to wait", func() (bool, error) { return b.lockWaits() == 1, nil })
	_, err = meanwhile.Exec(b.ctx, "update projections set partitions = 2")
	require.NoError(t, err)
	require.NoError(t, meanwhile.Commit(b.ctx))
	require.NoError(t, <-ensured)
	require.EqualValues(t, 2, b.int("select count(*) from projection_checkpoints where projection_name = 'p'"))
}

// What is built beside a projection is nobody's before its tables are there: who still runs the one before it, of the same name, would
// handle events into the live tables.
func TestClaimOfWhatIsBuiltBesideWaitsForItsTables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	_, err := partition.Ensure(b.ctx, b.Pool, "p@rebuild", 2)
	require.NoError(t, err)
	b.exec("update projections set shadow_of = 'p' where projection_name = 'p@rebuild'")
	one := b.member("one", 0)
	claim := partition.Claim{Projection: "p@rebuild", Instance: one.Instance, Token: b.token, Partitions: []int{0, 1}, Of: 2}
	_, err = claim.Claim(b.ctx, b.Pool)
	require.ErrorIs(t, err, partition.ErrResized)
	require.Zero(t, b.int("select count(*) from projection_checkpoints where owner is not null"))
	b.exec("update projections set shadow_ready_at = clock_timestamp() where projection_name = 'p@rebuild'")
	leases, err := claim.Claim(b.ctx, b.Pool)
	require.NoError(t, err)
	require.Len(t, leases, 2)
}
