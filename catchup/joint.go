package catchup

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rouse-es/rouse/internal/db"
)

// JointSave is the saves of several projections in one transaction. Schema, Instance, Token, Work and Wait are those of the first.
type JointSave []Save

// Alike reports whether s may be in one JointSave with other.
func (s Save) Alike(other Save) bool {
	return s.Schema == other.Schema && s.Instance == other.Instance && s.Token == other.Token
}

// Session is what a JointSave finds of its session, if no handler has changed it.
type Session struct{ Role, Path string }

// Queue adds the saves to a pipelined transaction. Each of them has to hold, or it raises in the server: pass the error of its result
// to SaveError, and to Scan the result.
func (j JointSave) Queue(batch *pgx.Batch, session Session) *pgx.QueuedQuery {
	n, size := 0, 0
	for _, s := range j {
		n, size = n+len(s.Fences), max(size, s.size())
	}
	projections, partitions := make([]string, 0, n), make([]int32, 0, n)
	epochs, floors, goals := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	events := make([]*string, 0, n)
	var large []bool       // null: none is
	var spots []pgtype.TID // null: all are looked for by their key
	for _, s := range j {
		for _, f := range s.Fences {
			at := len(partitions)
			projections, partitions = append(projections, s.Projection), append(partitions, int32(f.Partition))
			epochs, floors, goals, events = append(epochs, f.Epoch), append(floors, f.Floor), append(goals, s.To), append(events, orNull(s.Event))
			if f.Spot.large(s.Projection) {
				if large == nil {
					large = make([]bool, n)
				}
				large[at] = true
			}
			if spot, use := f.Spot.use(s.Projection); use {
				if spots == nil {
					spots = make([]pgtype.TID, n)
				}
				spots[at] = spot
			}
		}
	}
	first := j[0]
	return batch.Queue(forSize(sqlSaveJoint.In(first.Schema), size), projections, first.Instance, string(first.Token), partitions, epochs, floors, goals,
		events, first.Work, db.Milliseconds(max(first.Wait, time.Millisecond)), large, spots, session.Role, session.Path)
}

// Scan reads the result, and returns where the rows of each save are now.
func (j JointSave) Scan(row pgx.Row) ([]Saved, error) {
	var numbers []int64
	var spots []pgtype.TID
	if err := row.Scan(nil, nil, nil, nil, &numbers, &spots); err != nil {
		return nil, SaveError(err)
	}
	at := make(map[int64]pgtype.TID, len(numbers))
	for i, number := range numbers {
		at[number] = spots[i]
	}
	saved, number := make([]Saved, len(j)), int64(0)
	for i, s := range j {
		for _, f := range s.Fences {
			number++
			saved[i].partitions = append(saved[i].partitions, int32(f.Partition))
			saved[i].at = append(saved[i].at, at[number])
		}
	}
	return saved, nil
}
