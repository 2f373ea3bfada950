package projection_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/projection"
)

// resize changes the partitions of p within some time.
func (b *bundle) resize(partitions int, within time.Duration) error {
	ctx, cancel := context.WithTimeout(b.ctx, within)
	defer cancel()
	_, err := projection.Resize(ctx, b.Pool, "p", partitions)
	return err
}

// checkpoints are those of p, by partition.
func (b *bundle) checkpoints() []int64 {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, "select last_global_position from projection_checkpoints where projection_name = 'p' order by partition")
	require.NoError(b.t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return found
}

func TestSplitPartsGoOnFromTheCheckpointOfTheWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	b.exec("update projection_checkpoints set last_global_position = 10 + partition, epoch = 5 + partition, owner = gen_random_uuid()")
	from, err := projection.Resize(b.ctx, b.Pool, "p", 8)
	require.NoError(t, err)
	require.Equal(t, 2, from)
	require.Equal(t, []int64{10, 11, 10, 11, 10, 11, 10, 11}, b.checkpoints())
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints where owner is null and epoch = 7"), "above all epochs that were")
	require.EqualValues(t, 8, b.int("select partitions from projections"))
	have, err := partition.Ensure(b.ctx, b.Pool, "p", 0)
	require.NoError(t, err)
	require.Equal(t, 8, have)

	from, err = projection.Resize(b.ctx, b.Pool, "p", 8)
	require.NoError(t, err)
	require.Equal(t, 8, from)
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints where epoch = 7"), "there was nothing to do")
}

func TestJoinedOnlyAtOneCheckpoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(8)
	b.exec("update projection_checkpoints set last_global_position = 10 + partition % 2, epoch = partition")
	err := b.resize(1, patience)
	require.ErrorIs(t, err, projection.ErrUneven)
	require.ErrorContains(t, err, "no worker runs")
	require.Len(t, b.checkpoints(), 8)
	require.EqualValues(t, 1, b.int("select count(*) from projections where barrier is null and partitions = 8"), "nothing has changed")

	require.NoError(t, b.resize(2, patience), "these are equal in pairs")
	require.Equal(t, []int64{10, 11}, b.checkpoints())
	require.EqualValues(t, 2, b.int("select count(*) from projection_checkpoints where epoch = 8"))
	require.NoError(t, b.resize(8, patience))
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints where epoch = 9"), "a partition that comes back has a higher epoch than ever")

	b.exec("update projections set state = 'stopped'")
	err = b.resize(1, patience)
	require.ErrorIs(t, err, projection.ErrUneven)
	require.ErrorContains(t, err, "the projection is stopped")
}

func TestResizeRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	for _, wrong := range []int{-4, 0, 3, 2048} {
		require.ErrorIs(t, b.resize(wrong, patience), projection.ErrCount)
	}
	_, err := projection.Resize(b.ctx, b.Pool, "q", 8)
	require.ErrorIs(t, err, projection.ErrNoProjection)
	require.EqualValues(t, 1, b.int("select count(*) from projections where partitions = 4"))
}

// Whoever was at work when the partitions were split cannot save any more: the part that is another worker's now would be
// handled twice.
func TestResizeFencesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(1)
	one := b.member("one")
	lease := b.claim(one, 0)[0]
	require.NoError(t, one.Leave(b.ctx, b.Pool)) // so that nobody is waited for
	save := func(tx pgx.Tx, floor, to int64) error {
		var batch pgx.Batch
		catchup.Save{Projection: "p", Instance: one.Instance, Token: catchup.Token(b.token), To: to,
			Fences: []catchup.Fence{{Partition: 0, Epoch: lease.Epoch, Floor: floor}}}.Queue(&batch)
		return catchup.SaveError(tx.SendBatch(b.ctx, &batch).Close())
	}
	inFlight := b.begin()
	require.NoError(t, save(inFlight, 0, 50))
	done := make(chan error, 1)
	go func() { done <- b.resize(4, patience) }()
	testdb.Eventually(t, patience, "the resize to wait for the save", func() (bool, error) { return b.lockWaits() == 1, nil })
	require.NoError(t, inFlight.Commit(b.ctx))
	require.NoError(t, <-done)
	require.Equal(t, []int64{50, 50, 50, 50}, b.checkpoints(), "with the checkpoint of the save that it waited for")
	late := b.begin()
	require.ErrorIs(t, save(late, 50, 60), catchup.ErrFenced)
	require.NoError(t, late.Rollback(b.ctx))
}

// What was equal may not be any more when all locks are held.
func TestJoinLooksAgainUnderTheLocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	inFlight := b.begin()
	_, err := inFlight.Exec(b.ctx, "update projection_checkpoints set last_global_position = 50 where partition = 1")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- b.resize(1, patience) }()
	testdb.Eventually(t, patience, "the resize to wait for the save", func() (bool, error) { return b.lockWaits() == 1, nil })
	require.NoError(t, inFlight.Commit(b.ctx))
	require.ErrorIs(t, <-done, projection.ErrUneven)
	require.Equal(t, []int64{0, 50}, b.checkpoints())
}

func (b *bundle) barrier() int64 {
	b.t.Helper()
	standing, err := partition.Look(b.ctx, b.Pool, "p")
	require.NoError(b.t, err)
	return standing.Barrier
}

// The barrier stands at the highest checkpoint, is moved on with it, and is gone afterwards, whatever came of it.
func TestBarrierStandsAtTheHighestCheckpoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	b.exec("update projection_checkpoints set last_global_position = 10 + partition")
	one := b.member("one")
	b.exec("update projection_workers set lease_ttl_ms = 3600000")
	b.claim(one, 0, 1)
	require.EqualValues(t, partition.NoBarrier, b.barrier())
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := projection.Resize(ctx, b.Pool, "p", 1)
		ended <- err
	}()
	at := func(position int64) {
		t.Helper()
		testdb.Eventually(t, patience, "the barrier to be where the highest checkpoint is", func() (bool, error) { return b.barrier() == position, nil })
	}
	at(13)
	b.exec("update projection_checkpoints set last_global_position = 20 where partition = 1") // a worker had not seen it yet
	at(20)

	var wg sync.WaitGroup
	for _, partitions := range []int{2, 8} {
		wg.Go(func() {
			if err := b.resize(partitions, patience); err == nil {
				t.Errorf("%d partitions while another change was under way", partitions)
			}
		})
	}
	wg.Wait()
	require.ErrorIs(t, b.resize(8, patience), projection.ErrResizing)
	at(20)

	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.EqualValues(t, partition.NoBarrier, b.barrier())

	err := b.resize(1, 2*time.Second)
	require.ErrorIs(t, err, projection.ErrUneven)
	require.ErrorContains(t, err, "nobody owns partitions 2, 3 (start the worker")
	require.ErrorContains(t, err, "one is at 10 of 20 in partitions 0 (")
	require.EqualValues(t, partition.NoBarrier, b.barrier())

	go func() { ended <- b.resize(1, patience) }()
	at(20)
	b.exec("update projection_checkpoints set last_global_position = 20")
	require.NoError(t, <-ended)
	require.Equal(t, []int64{20}, b.checkpoints())
	require.EqualValues(t, 1, b.int("select count(*) from projections where barrier is null and barrier_holder is null"))
}

// Whoever set a barrier and died holds nobody up for long, and the next one need not clean up.
func TestBarrierRunsOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	b.exec(`update projections set barrier = 0, barrier_holder = $1::text::uuid, barrier_until = clock_timestamp() + interval '1 hour'`,
		eventstore.NewID().String())
	require.ErrorIs(t, b.resize(4, patience), projection.ErrResizing)
	require.Zero(t, b.barrier())
	b.exec("update projections set barrier_until = clock_timestamp() + interval '200 milliseconds'")
	testdb.Eventually(t, patience, "the barrier to run out", func() (bool, error) { return b.barrier() == partition.NoBarrier, nil })
	require.NoError(t, b.resize(4, patience))
}

// Two who want the same get it.
func TestResizesAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = b.resize(16, patience) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, b.checkpoints(), 16)
}
