package catchup_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// saver is a projection of four partitions that this instance owns under epoch 5, with its checkpoints at 10.
type saver struct {
	*bundle
	instance string
}

func setupSave(t *testing.T) *saver {
	t.Helper()
	s := &saver{bundle: setup(t), instance: eventstore.NewID().String()}
	s.exec("create table effects (n int)")
	s.reset()
	return s
}

// reset puts everything back as it was.
func (s *saver) reset() {
	s.t.Helper()
	s.exec("truncate effects, projections cascade")
	s.exec("insert into projections (projection_name, partitions) values ('p', 4)")
	s.exec(`insert into projection_checkpoints (projection_name, partition, owner, epoch, last_global_position)
		select 'p', n, $1::text::uuid, 5, 10 from generate_series(0, 3) n`, s.instance)
	s.exec("delete from rouse_incarnation")
	s.exec("insert into rouse_incarnation (token) values (left($1, 32)::uuid)", string(s.token))
}

func (s *saver) save() catchup.Save {
	return catchup.Save{Projection: "p", Instance: s.instance, Token: s.token, To: 20, Fences: []catchup.Fence{
		{Partition: 3, Epoch: 5, Floor: 10}, {Partition: 0, Epoch: 5, Floor: 10}, {Partition: 2, Epoch: 5, Floor: 10},
	}}
}

// only is a save of one partition, which has a statement of its own.
func (s *saver) only(partition int) catchup.Save {
	save := s.save()
	save.Fences = []catchup.Fence{{Partition: partition, Epoch: 5, Floor: 10}}
	return save
}

// pipelined sends begin, an effect, a save and commit in one batch, and returns what the save's own statement said.
func (s *saver) pipelined(conn *pgx.Conn, queueSave func(batch *pgx.Batch)) error {
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed")
	batch.Queue("insert into effects values (1)")
	queueSave(&batch)
	batch.Queue("commit")
	err := conn.SendBatch(s.ctx, &batch).Close()
	if conn.PgConn().TxStatus() != 'I' {
		_, rollbackErr := conn.Exec(s.ctx, "rollback")
		require.NoError(s.t, rollbackErr)
	}
	return err
}

func (s *saver) send(conn *pgx.Conn, save catchup.Save) error {
	return s.pipelined(conn, func(batch *pgx.Batch) {
		save.Queue(batch).Fn = func(results pgx.BatchResults) error {
			_, err := results.Exec()
			return catchup.SaveError(err)
		}
	})
}

// checkpoints are the positions of the four partitions.
func (s *saver) checkpoints() []int64 {
	s.t.Helper()
	rows, err := s.Pool.Query(s.ctx, "select last_global_position from projection_checkpoints order by partition")
	require.NoError(s.t, err)
	return s.positions(rows)
}

func TestSave(t *testing.T) {
	t.Parallel()
	other := eventstore.NewID().String()
	stale := map[string]func(s *saver, save *catchup.Save){
		"OldEpoch":           func(_ *saver, save *catchup.Save) { save.Fences[0].Epoch = 4 },
		"EpochOfTheFuture":   func(_ *saver, save *catchup.Save) { save.Fences[0].Epoch = 6 },
		"FloorPassed":        func(_ *saver, save *catchup.Save) { save.Fences[2].Floor = 9 },
		"FloorRemembered":    func(_ *saver, save *catchup.Save) { save.Fences[1].Floor = 11 },
		"AnotherOwner":       func(_ *saver, save *catchup.Save) { save.Instance = other },
		"AnotherIncarnation": func(_ *saver, save *catchup.Save) { save.Token = catchup.Token(other) },
		"UnknownProjection":  func(_ *saver, save *catchup.Save) { save.Projection = "q" },
		"UnknownPartition":   func(_ *saver, save *catchup.Save) { save.Fences[1].Partition = 4 },
		"OneTakenByAnother": func(s *saver, _ *catchup.Save) {
			s.exec("update projection_checkpoints set owner = $1::text::uuid where partition = 2", other)
		},
		"OneOwnedByNobody": func(s *saver, _ *catchup.Save) {
			s.exec("update projection_checkpoints set owner = null where partition = 0")
		},
		"OneMovedOn": func(s *saver, _ *catchup.Save) {
			s.exec("update projection_checkpoints set last_global_position = 12 where partition = 3")
		},
		"NoTokenYetAfterACrash":     func(s *saver, _ *catchup.Save) { s.exec("delete from rouse_incarnation") },
		"TokenOfAnotherAfterACrash": func(s *saver, _ *catchup.Save) { s.exec("update rouse_incarnation set token = gen_random_uuid()") },
	}
	staleOne := map[string]func(s *saver, save *catchup.Save){
		"OldEpoch":           func(_ *saver, save *catchup.Save) { save.Fences[0].Epoch = 4 },
		"FloorPassed":        func(_ *saver, save *catchup.Save) { save.Fences[0].Floor = 9 },
		"FloorRemembered":    func(_ *saver, save *catchup.Save) { save.Fences[0].Floor = 11 },
		"AnotherOwner":       func(_ *saver, save *catchup.Save) { save.Instance = other },
		"AnotherIncarnation": func(_ *saver, save *catchup.Save) { save.Token = catchup.Token(other) },
		"UnknownProjection":  func(_ *saver, save *catchup.Save) { save.Projection = "q" },
		"UnknownPartition":   func(_ *saver, save *catchup.Save) { save.Fences[0].Partition = 4 },
		"OwnedByNobody":      func(s *saver, _ *catchup.Save) { s.exec("update projection_checkpoints set owner = null") },
		"NoTokenYet":         func(s *saver, _ *catchup.Save) { s.exec("delete from rouse_incarnation") },
	}
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := setupSave(t)
			pooled, err := s.pool(mode, 1, nil).Acquire(s.ctx)
			require.NoError(t, err)
			t.Cleanup(pooled.Release)
			conn := pooled.Conn()
			t.Run("MovesItsPartitionsOnly", func(t *testing.T) {
				require.NoError(t, s.send(conn, s.save()))
				require.EqualValues(t, 1, s.int("select count(*) from effects"))
				require.Equal(t, []int64{20, 10, 20, 20}, s.checkpoints())
			})
			t.Run("MovesItsOnePartitionOnly", func(t *testing.T) {
				s.reset()
				require.NoError(t, s.send(conn, s.only(2)))
				require.EqualValues(t, 1, s.int("select count(*) from effects"))
				require.Equal(t, []int64{10, 10, 20, 10}, s.checkpoints())
			})
			refuses := func(t *testing.T, save catchup.Save) {
				before := s.checkpoints()
				require.ErrorIs(t, s.send(conn, save), catchup.ErrFenced)
				require.Zero(t, s.int("select count(*) from effects"), "a stale batch must leave nothing behind")
				require.Equal(t, before, s.checkpoints(), "all partitions or none")
			}
			for name, spoil := range stale {
				t.Run(name, func(t *testing.T) {
					s.reset()
					save := s.save()
					spoil(s, &save)
					refuses(t, save)
				})
			}
			for name, spoil := range staleOne {
				t.Run("OfOne/"+name, func(t *testing.T) {
					s.reset()
					save := s.only(2)
					spoil(s, &save)
					refuses(t, save)
				})
			}
		})
	}
}

// The obvious save is an update with the same conditions. In a pipeline a stale one is no error, and the COMMIT behind it
// goes through: the effect is there twice.
func TestPlainUpdateIsNoFence(t *testing.T) {
	t.Parallel()
	s := setupSave(t)
	conn := s.Conn(t)
	const plain = `update projection_checkpoints set last_global_position = 20
		where projection_name = 'p' and partition = any ('{0,2,3}') and owner = $1::text::uuid and epoch = 5 and last_global_position = 10`
	update := func(batch *pgx.Batch) { batch.Queue(plain, s.instance) }
	require.NoError(t, s.pipelined(conn, update))
	require.NoError(t, s.pipelined(conn, update), "and again, with a floor that has been passed")
	require.EqualValues(t, 2, s.int("select count(*) from effects"))

	s.reset()
	require.NoError(t, s.send(conn, s.save()))
	require.ErrorIs(t, s.send(conn, s.save()), catchup.ErrFenced)
	require.EqualValues(t, 1, s.int("select count(*) from effects"), "the real save does not")
}

// Twins save the same partitions, each in its own order. Whoever locked rows in the order it was given would deadlock.
func TestTwinsThatSaveInDifferentOrdersDoNotDeadlock(t *testing.T) {
	t.Parallel()
	// One twin holds partition 0, the other one begins to save {3, 0}, and then the first wants 3.
	race := func(t *testing.T, s *saver, second func(conn *pgx.Conn) error) (first, other error) {
		one := s.begin(pgx.ReadCommitted)
		_, err := one.Exec(s.ctx, "select from projection_checkpoints where partition = 0 for no key update")
		require.NoError(t, err)
		result := make(chan error, 1)
		conn := s.Conn(t)
		go func() { result <- second(conn) }()
		testdb.Eventually(t, patience, "the other twin to wait", func() (bool, error) {
			return s.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, nil
		})
		_, first = one.Exec(s.ctx, "update projection_checkpoints set last_global_position = 15 where partition = 3")
		if first == nil {
			first = one.Commit(s.ctx)
		} else {
			require.NoError(t, one.Rollback(s.ctx))
		}
		return first, <-result
	}
	t.Run("Naive", func(t *testing.T) {
		s := setupSave(t)
		first, other := race(t, s, func(conn *pgx.Conn) error {
			return s.pipelined(conn, func(batch *pgx.Batch) {
				batch.Queue("update projection_checkpoints set last_global_position = 20 where partition = 3")
				batch.Queue("update projection_checkpoints set last_global_position = 20 where partition = 0")
			})
		})
		var deadlock *pgconn.PgError
		if first == nil {
			first = other
		}
		require.ErrorAs(t, first, &deadlock)
		require.Equal(t, "40P01", deadlock.Code)
	})
	t.Run("Save", func(t *testing.T) {
		s := setupSave(t)
		first, other := race(t, s, func(conn *pgx.Conn) error { return s.send(conn, s.save()) })
		require.NoError(t, first)
		require.ErrorIs(t, other, catchup.ErrFenced, "it comes second, and finds that a floor has moved")
	})
}

// An error of a statement before the save is not the save's, whatever its number.
func TestSaveErrorKeepsOtherErrors(t *testing.T) {
	t.Parallel()
	require.NoError(t, catchup.SaveError(nil))
	other := &pgconn.PgError{Code: "40001"}
	require.Equal(t, other, catchup.SaveError(other))
	require.ErrorIs(t, catchup.SaveError(&pgconn.PgError{Code: "22012"}), catchup.ErrFenced)
}
