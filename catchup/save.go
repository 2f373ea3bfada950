package catchup

import (
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrFenced means that a save was refused: a partition of the batch has another owner, epoch or floor than it was read
// under, or the database is another incarnation. The transaction has to be rolled back whole. Nothing is lost by that,
// for the present owner of the partition handles the same events.
var ErrFenced = errors.New("catchup: the checkpoint has moved or changed hands, the batch is rolled back")

// ErrEnded means that the transaction of a save is not the one that its work was begun in: the handler has ended that one, by
// a statement.
var ErrEnded = errors.New("catchup: the transaction was ended before the save")

// Fence is the condition that a save tests of one partition: the epoch that it is owned under, and the checkpoint that
// the batch started from.
type Fence struct {
	Partition    int
	Epoch, Floor int64

	// Event is the id of the event at Floor, "" if it is not known. The save does not test it.
	Event string

	// Spot is where the row was last. The save does not depend on it.
	Spot Spot
}

// Save moves the checkpoints of the fenced partitions to position To, if and only if all fences hold.
type Save struct {
	Projection, Instance string
	Token                Token
	Fences               []Fence
	To                   int64

	// Event is the id of the event at To, "" if there is none or it is not known. A later claim compares it with the log.
	Event string

	// Work is the name of the transaction that the save belongs to, "" if it does not matter. In another transaction the save
	// fails with ErrEnded.
	Work string

	// Wait is how long the save waits for the checkpoints where another session holds them, after which it fails with
	// lock_not_available. 0: 5 s (db.LockTimeout).
	Wait time.Duration

	// Schema holds the tables. "": the session's search_path finds them.
	Schema string

	// Watch makes the save return where it has put the rows. It does so anyway while one of them moves from page to page.
	Watch bool
}

// inOrder returns the fences in the order of their partitions, in which every session locks the rows.
func (s Save) inOrder() []Fence {
	if slices.IsSortedFunc(s.Fences, Fence.compare) {
		return s.Fences
	}
	return slices.SortedFunc(slices.Values(s.Fences), Fence.compare)
}

func (f Fence) compare(g Fence) int { return f.Partition - g.Partition }

// Queue adds the save to a pipelined transaction. It raises in the server, so a COMMIT queued after it does not commit
// a stale owner's effects. Pass the error of its result to SaveError.
func (s Save) Queue(batch *pgx.Batch) *pgx.QueuedQuery {
	wait := s.Wait
	if wait <= 0 {
		wait = db.LockTimeout
	}
	lock := db.Milliseconds(max(wait, time.Millisecond)) // 0ms would wait for ever
	fences := s.inOrder()
	large, spots := s.spotsOf(fences)
	if len(fences) == 1 && spots == nil {
		f := fences[0]
		return batch.Queue(forSize(sqlSaveOne.In(s.Schema), s.size()), s.Projection, s.Instance, string(s.Token), int32(f.Partition), f.Epoch, f.Floor, s.To,
			textOrNull(s.Event), textOrNull(s.Work), lock, large != nil, s.watches())
	}
	partitions := make([]int32, len(fences))
	epochs := make([]int64, len(fences))
	floors := make([]int64, len(fences))
	for i, f := range fences {
		partitions[i], epochs[i], floors[i] = int32(f.Partition), f.Epoch, f.Floor
	}
	args := []any{s.Projection, s.Instance, string(s.Token), partitions, epochs, floors, s.To, textOrNull(s.Event), textOrNull(s.Work), lock, large}
	if spots != nil {
		return batch.Queue(forSize(sqlSaveAt.In(s.Schema), s.size()), append(args, spots)...)
	}
	return batch.Queue(sqlSave.In(s.Schema), append(args, s.watches())...)
}

// textOrNull returns text as an argument of a statement, and null for "". pgx would copy what a pointer leads to.
func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// orNull returns nil for "", which goes to the server as null in an array.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// SaveError returns the error of the save's own statement with its meaning: ErrFenced where the fence raised it, ErrEnded where
// the transaction is another one.
func SaveError(err error) error {
	if err == nil {
		return nil
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	switch pgErr.Code {
	case "22012": // division_by_zero, which only a broken fence divides by
		return ErrFenced
	case "22P02": // invalid_text_representation, which only a name of another transaction is
		return ErrEnded
	}
	return err
}
