package catchup_test

import (
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// owner saves the checkpoints of a projection again and again, as a worker that owns them all does.
type owner struct {
	*saver
	conn   *pgx.Conn
	fences []catchup.Fence

	saves, told int // how many there were, and how many of them have said where the rows are
}

// own returns the owner of so many partitions, without any dead row, in a table that nobody but us cleans up.
func own(t *testing.T, partitions int) *owner {
	t.Helper()
	o := &owner{saver: setupSave(t)}
	o.conn = o.Conn(t)
	o.exec("alter table projection_checkpoints set (autovacuum_enabled = false)")
	o.exec("truncate projections cascade")
	o.exec("insert into projections (projection_name, partitions) values ('p', $1)", partitions)
	o.exec(`insert into projection_checkpoints (projection_name, partition, owner, epoch)
		select 'p', n, $1::text::uuid, 1 from generate_series(0, $2::int - 1) n`, o.instance, partitions)
	for p := range partitions {
		o.fences = append(o.fences, catchup.Fence{Partition: p, Epoch: 1})
	}
	return o
}

// save saves those of the partitions, of all of them without any.
func (o *owner) save(partitions ...int) {
	o.t.Helper()
	fences := o.fences
	if len(partitions) > 0 {
		fences = nil
		for _, p := range partitions {
			fences = append(fences, o.fences[p])
		}
	}
	o.saves++
	save := catchup.Save{
		Projection: "p", Instance: o.instance, Token: o.token, To: o.highest() + 1, Fences: fences, Watch: o.saves%catchup.WatchEvery == 0,
	}
	var saved catchup.Saved
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed")
	save.Queue(&batch).QueryRow(func(row pgx.Row) error { return row.Scan(&saved) })
	batch.Queue("commit")
	require.NoError(o.t, o.conn.SendBatch(o.ctx, &batch).Close())
	spots := save.Spots(saved)
	if spots != nil {
		o.told++
	}
	for i := range fences {
		f := &o.fences[fences[i].Partition]
		f.Floor = save.To
		if spots != nil {
			f.Spot = spots[i]
		}
	}
}

func (o *owner) highest() (highest int64) {
	for _, f := range o.fences {
		highest = max(highest, f.Floor)
	}
	return highest
}

// buffers are the pages of the table and of its index that one save of partitions looks at: the mean of many, for now and then a row
// needs a page of its own.
func (o *owner) buffers(partitions ...int) float64 {
	o.t.Helper()
	const saves = 64
	before := o.touched()
	for range saves {
		o.save(partitions...)
	}
	return float64(o.touched()-before) / saves
}

func (o *owner) touched() int64 {
	o.t.Helper()
	_, err := o.conn.Exec(o.ctx, "select pg_stat_force_next_flush()")
	require.NoError(o.t, err)
	_, err = o.conn.Exec(o.ctx, "select 1") // at whose end the server has flushed
	require.NoError(o.t, err)
	return o.int(`select heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read from pg_statio_user_tables
		where relid = 'projection_checkpoints'::regclass`)
}

// hold holds a snapshot, as a dump does, until release is called or the test ends.
func (o *owner) hold() (release func()) {
	conn := o.Conn(o.t)
	for _, sql := range []string{"begin isolation level repeatable read", "select count(*) from projection_checkpoints"} {
		_, err := conn.Exec(o.ctx, sql)
		require.NoError(o.t, err)
	}
	return func() {
		_, err := conn.Exec(o.ctx, "commit")
		require.NoError(o.t, err)
	}
}

// What a snapshot keeps of old versions of the rows does not make saves dear, of one partition or of all. Not in parallel: a transaction
// of another test, in any database of the server, is a snapshot too.
func TestSavesStayCheapWhileASnapshotIsHeld(t *testing.T) {
	dead := 20_000
	if os.Getenv("ROUSE_STRESS") != "" {
		dead = 200_000
	}
	o := own(t, 32)
	o.save()
	one, all := o.buffers(7), o.buffers()
	o.hold()
	for range dead / 32 {
		o.save()
	}
	allDead, oneDead := o.buffers(), o.buffers(7)
	t.Logf("buffers of a save: %.1f and %.1f of one partition, %.1f and %.1f of all 32", one, oneDead, all, allDead)
	require.Less(t, allDead, 5*all, "all partitions")
	require.Less(t, oneDead, 5*one, "one partition")
	require.Zero(t, o.int("select vacuum_count + autovacuum_count from pg_stat_user_tables where relid = 'projection_checkpoints'::regclass"))
}

// Without a snapshot rows stay where they are, and none is made large. Not in parallel either.
func TestRowsStayOnTheirPageWhileNobodyHoldsASnapshot(t *testing.T) {
	o := own(t, 32)
	for range 500 {
		o.save()
	}
	require.Zero(t, o.int("select count(*) from projection_checkpoints where room is not null"))
	require.LessOrEqual(t, o.int("select pg_relation_size('projection_checkpoints') / 8192"), int64(4))
}

// Once the snapshot is gone, the pages that the rows have to themselves are cleaned up as they are used. Not in parallel either.
func TestTableStopsGrowingOnceTheSnapshotIsGone(t *testing.T) {
	o := own(t, 4)
	release := o.hold()
	for range 200 {
		o.save()
	}
	release()
	for range 100 {
		o.save()
	}
	pages := o.int("select pg_relation_size('projection_checkpoints') / 8192")
	for range 500 {
		o.save()
	}
	require.LessOrEqual(t, o.int("select pg_relation_size('projection_checkpoints') / 8192"), pages+4)
}

// A spot that is wrong, because the table was rewritten or the row moved by hand, costs a look by the key and nothing else: the row is
// found, and a row that stands at the spot now is left alone.
func TestSaveFindsARowThatIsNotAtItsPlace(t *testing.T) {
	t.Parallel()
	for name, partitions := range map[string][]int{"One": {2}, "Many": {3, 0, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := own(t, 4)
			saved := func(why string) {
				t.Helper()
				to := o.highest() + 1
				others := o.checkpoints()
				o.save(partitions...)
				for p, position := range o.checkpoints() {
					want := others[p]
					if slices.Contains(partitions, p) {
						want = to
					}
					require.Equal(t, want, position, "partition %d, %s", p, why)
				}
			}
			saved("spot not known")
			saved("spot known")
			o.exec("vacuum full projection_checkpoints")
			saved("after the table was written anew")
			o.exec("update projection_checkpoints set updated_at = clock_timestamp()")
			saved("after another update")
			for i := range o.fences { // each at the spot of another
				var at pgtype.TID
				require.NoError(t, o.Pool.QueryRow(o.ctx, "select ctid from projection_checkpoints where partition = $1", 3-i).Scan(&at))
				o.fences[i].Spot = catchup.SpotAt(at)
			}
			saved("another row at the spot")
			for i := range o.fences {
				o.fences[i].Spot = catchup.SpotAt(pgtype.TID{BlockNumber: 4_000_000_000, OffsetNumber: 65535, Valid: true})
			}
			saved("a spot that does not exist")
		})
	}
}

// What a save returns of spots costs more than all that it is told by them. So it returns them now and then, and every time while a row
// moves. Not in parallel: a transaction of another test is a snapshot too.
func TestSavesSayNowAndThenWhereTheRowsAre(t *testing.T) {
	o := own(t, 32)
	o.save()
	require.Equal(t, 1, o.told, "the first one, for nothing is known")
	for range 10 * catchup.WatchEvery {
		o.save()
	}
	require.LessOrEqual(t, o.told, 20)
	o.hold()
	for range 10 * catchup.WatchEvery {
		o.save()
	}
	told := o.told
	for range 10 {
		o.save()
	}
	require.Equal(t, told+10, o.told, "the rows move")
}

// What a save says of its session, and of its rows, comes as text in one way of sending it, and as pgx likes it best in the others.
func TestSaveTellsOfItsSession(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := setupSave(t)
			conn, err := s.pool(mode, 1, nil).Acquire(s.ctx)
			require.NoError(t, err)
			defer conn.Release()
			save := func(before catchup.Saved, position int64, watch bool) (catchup.Saved, []catchup.Spot) {
				save := s.only(2)
				save.Fences[0].Floor, save.To, save.Watch = position-1, position, watch
				save.Fences[0].Spot = catchup.SpotAt(pgtype.TID{Valid: true})
				require.NoError(t, s.pipelined(conn.Conn(), func(batch *pgx.Batch) {
					save.Queue(batch).QueryRow(func(row pgx.Row) error { return row.Scan(&before) })
				}))
				return before, save.Spots(before)
			}
			saved, spots := save(catchup.Saved{}, 11, false)
			require.Equal(t, catchup.Saved{Session: catchup.Session{Role: "none", Path: `"$user", public`}}, saved)
			require.Nil(t, spots)
			_, err = conn.Exec(s.ctx, "set search_path = public, pg_temp; set role pg_read_all_data; reset role; create temporary table mine ()", pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			saved, spots = save(saved, 12, true)
			require.Equal(t, catchup.Session{Role: "none", Path: "public, pg_temp"}, saved.Session)
			require.True(t, saved.HadTables)
			require.Len(t, spots, 1)
			saved, spots = save(saved, 13, false)
			require.True(t, saved.HadTables)
			require.Nil(t, spots, "those of the save before are not taken for those of this one")
		})
	}
}

// Rows that are looked for at their spots are locked in the order of partitions too. Not in parallel: a transaction of another test is a
// snapshot too.
func TestTwinsThatSaveAtSpotsDoNotDeadlock(t *testing.T) {
	o := own(t, 32)
	release := o.hold()
	for range 100 {
		o.save()
	}
	require.Greater(t, o.int("select count(distinct (ctid::text::point)[0]) from projection_checkpoints"), int64(16), "they have pages of their own")
	release()
	one := o.begin(pgx.ReadCommitted)
	_, err := one.Exec(o.ctx, "select from projection_checkpoints where partition = 0 for no key update")
	require.NoError(t, err)
	save := catchup.Save{Projection: "p", Instance: o.instance, Token: o.token, To: o.highest() + 1}
	for _, p := range []int{3, 0, 2} {
		save.Fences = append(save.Fences, o.fences[p])
	}
	result := make(chan error, 1)
	go func() { result <- o.send(o.conn, save) }()
	testdb.Eventually(t, patience, "the save to wait", func() (bool, error) {
		return o.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, nil
	})
	_, err = one.Exec(o.ctx, "update projection_checkpoints set last_global_position = last_global_position + 1 where partition = 3")
	require.NoError(t, err)
	require.NoError(t, one.Commit(o.ctx))
	require.ErrorIs(t, <-result, catchup.ErrFenced, "it comes second, and finds that a floor has moved")
}
