package partition_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

func TestEnsure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			have, err := partition.Ensure(b.ctx, b.Pool, "p", 0)
			if err == nil && have != partition.Default {
				err = fmt.Errorf("%d partitions", have)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err, "many processes at once")
	}
	require.EqualValues(t, 32, b.int("select count(*) from projection_checkpoints where last_global_position = 0 and owner is null"))

	_, err := partition.Ensure(b.ctx, b.Pool, "p", 64)
	require.ErrorIs(t, err, partition.ErrMismatch)
	require.ErrorContains(t, err, "p is kept in 32, and 64 were asked for (ask for 32")
	for _, wrong := range []int{-1, 3, 2048} {
		_, err := partition.Ensure(b.ctx, b.Pool, "q", wrong)
		require.ErrorIs(t, err, partition.ErrCount)
	}
	require.EqualValues(t, 1, b.int("select count(*) from projections"), "a refused projection is not created")

	b.exec("delete from projection_checkpoints where partition in (3, 31)")
	have, err := partition.Ensure(b.ctx, b.Pool, "p", 32)
	require.NoError(t, err)
	require.Equal(t, 32, have)
	require.EqualValues(t, 32, b.int("select count(*) from projection_checkpoints"))
}

// spot is where the row of a partition is.
func (b *bundle) spot(partition int) (at pgtype.TID) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, "select ctid from projection_checkpoints where partition = $1", partition).Scan(&at))
	return at
}

func TestClaimTakesWhatIsFreeAndRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	b.exec("update projection_checkpoints set last_global_position = 10 + partition, epoch = 7")
	one := b.member("one", 0)
	got := b.claim(one, false, 0, 2)
	for p, lease := range got {
		require.Equal(t, b.spot(p), lease.Spot)
		lease.Spot = pgtype.TID{}
		got[p] = lease
	}
	require.Equal(t, map[int]partition.Lease{0: {Partition: 0, Epoch: 8, Floor: 10}, 2: {Partition: 2, Epoch: 8, Floor: 12}}, got)
	require.Equal(t, int64(9), b.claim(one, false, 0)[0].Epoch, "its own again, under a new epoch")

	two := b.member("two", 0)
	require.False(t, b.claimable(two, 0, 2))
	require.True(t, b.claimable(two, 0, 1))
	require.Len(t, b.claim(two, false, 0, 1, 2, 3), 2, "nothing from the living")
	require.Len(t, b.claim(two, true, 0, 1, 2, 3), 4, "unless it has just started")
	require.False(t, b.claimable(one, 0, 1, 2, 3))
}

func TestClaimUnderAnotherIncarnationGetsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	one := b.member("one", 0)
	b.exec("update rouse_incarnation set token = gen_random_uuid()")
	require.Empty(t, b.claim(one, true, 0, 1))
	require.EqualValues(t, 4, b.int("select count(*) from projection_checkpoints where owner is null and epoch = 0"))
}

// Who counts as dead: whoever is silent for longer than its time, and whoever has lost its sessions.
func TestClaimTakesFromTheDeadOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	present, absent, pooled := b.present("present", 77), b.member("absent", 78), b.member("pooled", 0)
	claimer := b.member("claimer", 0)
	for _, test := range []struct {
		owner         partition.Member
		silent        time.Duration
		dead          bool
		whatThatShows string
	}{
		{present, 0, false, "alive"},
		{present, 500 * time.Millisecond, false, "silent within its time"},
		{present, time.Hour, true, "silent for too long, whatever it holds"},
		{absent, 0, true, "its sessions are gone"},
		{pooled, 0, false, "it never held a lock"},
		{pooled, time.Hour, true, "silent for too long, and there is no lock to look for"},
	} {
		owner := test.owner
		owner.TTL = time.Second
		// A server that has just started gives everybody their time once more, so this may have to be seen twice.
		testdb.Eventually(t, patience, test.whatThatShows, func() (bool, error) {
			if err := owner.Heartbeat(b.ctx, b.Pool); err != nil {
				return false, err
			}
			b.claim(owner, true, 0, 1, 2, 3)
			b.exec("update projection_workers set lease_ttl_ms = 1000, heartbeat_at = heartbeat_at - $2::interval where instance_id = $1::text::uuid",
				owner.Instance, test.silent)
			return b.claimable(claimer, 0, 1, 2, 3) == test.dead && (len(b.claim(claimer, false, 0, 1, 2, 3)) == 4) == test.dead, nil
		})
	}
	b.claim(present, true, 0)
	b.exec("delete from projection_workers where label = 'present'")
	require.True(t, b.claimable(claimer, 0), "an owner without a row is dead")
}

// After a restart everybody has lost their sessions, and nobody is dead.
func TestNobodyIsDeadJustAfterARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	lost := b.member("lost its session", 78)
	long := b.member("dead for long", 79)
	claimer := b.member("claimer", 0)
	b.claim(lost, true, 0)
	b.claim(long, true, 1)
	b.exec("update projection_workers set lease_ttl_ms = 3600000")
	b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '5 minutes' where label = 'lost its session'")
	b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '3 hours' where label = 'dead for long'")
	b.exec("update rouse_restart set at = clock_timestamp()") // as whoever finds it empty does
	require.False(t, b.claimable(claimer, 0))
	require.True(t, b.claimable(claimer, 1))
	b.exec("update projection_workers set lease_ttl_ms = 1")
	b.exec("update rouse_restart set at = '-infinity'")
	testdb.Eventually(t, patience, "its time to be over", func() (bool, error) { return b.claimable(claimer, 0), nil })
}

// The clock of the server is set back by an hour just after a restart: both the restart and the last word of whoever was killed
// before it spoke again are in the future.
func TestClockSetBackBehindARestartKeepsNobodyAlive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	alive, killed := b.present("alive", 78), b.member("killed", 79)
	claimer := b.member("claimer", 0)
	b.claim(alive, true, 0)
	b.claim(killed, true, 1)
	b.exec("update projection_workers set heartbeat_at = heartbeat_at + interval '1 hour' where label in ('alive', 'killed')")
	b.exec("update rouse_restart set at = clock_timestamp() + interval '1 hour'")
	b.exec("update projection_workers set lease_ttl_ms = 1000") // the server itself has started in the past
	testdb.Eventually(t, patience, "the killed one to be dead", func() (bool, error) { return b.claimable(claimer, 1), nil })
	require.False(t, b.claimable(claimer, 0), "nobody who holds its lock dies of a clock")
}

func TestReleaseGivesUpItsOwnAndFencesWhatItLeftInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(4)
	one, two := b.member("one", 0), b.member("two", 0)
	b.claim(one, false, 0, 1, 2)
	b.claim(two, false, 3)
	require.NoError(t, partition.Release(b.ctx, b.Pool, "p", one.Instance, []int{1, 3}))
	require.EqualValues(t, 1, b.int("select count(*) from projection_checkpoints where owner is null and epoch = 2"), "of those asked for, its own")
	require.NoError(t, partition.Release(b.ctx, b.Pool, "p", one.Instance, nil))
	require.EqualValues(t, 3, b.int("select count(*) from projection_checkpoints where owner is null and epoch = 2"))
	require.EqualValues(t, 1, b.int("select count(*) from projection_checkpoints where owner = $1::text::uuid and epoch = 1", two.Instance))
}

// A claim waits for a save in flight and then sees its result; a save that comes after it is refused. Either way nothing is
// handled twice.
func TestClaimAndSaveMeet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(1)
	one, two := b.member("one", 0), b.member("two", 0)
	lease := b.claim(one, false, 0)[0]
	save := func(tx pgx.Tx, floor, to int64) error {
		var batch pgx.Batch
		catchup.Save{Projection: "p", Instance: one.Instance, Token: catchup.Token(b.token), To: to,
			Fences: []catchup.Fence{{Partition: 0, Epoch: lease.Epoch, Floor: floor}}}.Queue(&batch)
		return catchup.SaveError(tx.SendBatch(b.ctx, &batch).Close())
	}
	inFlight := b.begin()
	require.NoError(t, save(inFlight, 0, 50))
	claimed := make(chan []partition.Lease, 1)
	go func() {
		leases, _ := partition.Claim{Projection: "p", Instance: two.Instance, Token: b.token, Partitions: []int{0}, FromTheLiving: true}.Claim(b.ctx, b.Pool)
		claimed <- leases
	}()
	testdb.Eventually(t, patience, "the claim to wait for the save", func() (bool, error) {
		return b.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, nil
	})
	require.NoError(t, inFlight.Commit(b.ctx))
	leases := <-claimed
	require.Equal(t, []partition.Lease{{Partition: 0, Epoch: lease.Epoch + 1, Floor: 50, Inherited: true, Spot: b.spot(0)}}, leases, "with the floor of the save that it waited for")

	late := b.begin()
	require.ErrorIs(t, save(late, 50, 60), catchup.ErrFenced)
	require.NoError(t, late.Rollback(b.ctx))
}

// A claim must survive a crash, or one epoch could be given to two workers.
func TestClaimsCommitSynchronously(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	b.exec("create table commits (setting text)")
	b.exec(`create function note_commit() returns trigger language plpgsql as $$ begin
		insert into commits values (current_setting('synchronous_commit')); return null; end $$`)
	b.exec("create trigger note_commit after update on projection_checkpoints for each row execute function note_commit()")
	b.exec("alter database " + pgx.Identifier{b.Name}.Sanitize() + " set synchronous_commit = off")
	b.Pool.Reset()
	one := b.member("one", 0)
	b.claim(one, false, 0, 1)
	require.NoError(t, partition.Release(b.ctx, b.Pool, "p", one.Instance, nil))
	require.EqualValues(t, 4, b.int("select count(*) from commits where setting = 'on'"))
	require.EqualValues(t, 4, b.int("select count(*) from commits"))
}

func TestMemberComesAndGoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := b.member("one", 5)
	one.EventsHandled, one.States = 12, map[string]string{"p": "live"}
	require.NoError(t, one.Heartbeat(b.ctx, b.Pool))
	require.EqualValues(t, 1, b.int(`select count(*) from projection_workers where label = 'one' and events_handled = 12
		and states ->> 'p' = 'live' and assignment = 'elastic' and presence = 5 and heartbeat_at >= started_at`))
	static := partition.Member{Instance: eventstore.NewID().String(), Label: "old", Static: true, Index: 1, Total: 4}
	require.NoError(t, static.Heartbeat(b.ctx, b.Pool))
	require.EqualValues(t, 1, b.int("select count(*) from projection_workers where assignment = 'static' and worker_index = 1 and total_workers = 4 and presence is null"))
	b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '2 days' where label = 'old'")
	require.NoError(t, one.Leave(b.ctx, b.Pool))
	require.Zero(t, b.int("select count(*) from projection_workers"), "and what was silent for a day is forgotten")
}
