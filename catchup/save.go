package catchup

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrFenced means that a save was refused: a partition of the batch has another owner, epoch or floor than it was read
// under, or the database is another incarnation. The transaction has to be rolled back whole; nothing of it is lost, for
// whoever owns the partition now handles the same events.
var ErrFenced = errors.New("catchup: the checkpoint has moved or changed hands, the batch is rolled back")

// Fence is what a save tests of one partition: the epoch it is owned under, and the checkpoint the batch started from.
type Fence struct {
	Partition    int
	Epoch, Floor int64
}

// Save moves the checkpoints of the fenced partitions to one position, if and only if all fences hold.
type Save struct {
	Projection, Instance string
	Token                Token
	Fences               []Fence
	To                   int64
}

// Queue adds the save to a pipelined transaction. It raises in the server, so a COMMIT queued after it does not commit a
// stale owner's effects. Read its result with SaveError.
func (s Save) Queue(batch *pgx.Batch) *pgx.QueuedQuery {
	if queued := s.spoilt(batch); queued != nil {
		return queued
	}
	if len(s.Fences) == 1 {
		f := s.Fences[0]
		return batch.Queue(sqlSaveOne, s.Projection, s.Instance, string(s.Token), int32(f.Partition), f.Epoch, f.Floor, s.To)
	}
	partitions := make([]int32, len(s.Fences))
	epochs := make([]int64, len(s.Fences))
	floors := make([]int64, len(s.Fences))
	for i, f := range s.Fences {
		partitions[i], epochs[i], floors[i] = int32(f.Partition), f.Epoch, f.Floor
	}
	return batch.Queue(sqlSave, s.Projection, s.Instance, string(s.Token), partitions, epochs, floors, s.To)
}

// SaveError turns the error of the save's own statement into ErrFenced where the fence raised it.
func SaveError(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "22012" { // division_by_zero, which only a broken fence divides by
		return ErrFenced
	}
	return err
}
