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

// AtSpots reports whether a row of s is not to be looked for by its key, as a JointSave does.
func (s Save) AtSpots() bool {
	_, spots := s.spotsOf(s.Fences)
	return spots != nil
}

// Session is what a save finds of its session; a JointSave is told what it finds if no handler has changed it.
type Session struct{ Role, Path string }

// Queue adds the saves, which are in the order of their projections, to a pipelined transaction. Each of them has to hold, or it raises
// in the server: pass the error of its result to SaveError, and to Scan the result.
func (j JointSave) Queue(batch *pgx.Batch, session Session) *pgx.QueuedQuery {
	n, watches := 0, false
	for _, s := range j {
		n, watches = n+len(s.Fences), watches || s.watches()
	}
	projections, partitions := make([]string, 0, n), make([]int32, 0, n)
	epochs, floors, goals := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	events := make([]*string, 0, n)
	var large []bool // null: none is
	for _, s := range j {
		for _, f := range s.inOrder() {
			if f.Spot.large(s.Projection) {
				if large == nil {
					large = make([]bool, n)
				}
				large[len(partitions)] = true
			}
			projections, partitions = append(projections, s.Projection), append(partitions, int32(f.Partition))
			epochs, floors, goals, events = append(epochs, f.Epoch), append(floors, f.Floor), append(goals, s.To), append(events, orNull(s.Event))
		}
	}
	first := j[0]
	return batch.Queue(sqlSaveJoint.In(first.Schema), projections, first.Instance, string(first.Token), partitions, epochs, floors, goals,
		events, first.Work, db.Milliseconds(max(first.Wait, time.Millisecond)), large, watches, session.Role, session.Path)
}

// Scan reads the result, and returns where the rows of each save are now.
func (j JointSave) Scan(row pgx.Row) ([]Saved, error) {
	var spots []pgtype.TID
	if err := row.Scan(nil, nil, nil, nil, &spots); err != nil {
		return nil, SaveError(err)
	}
	saved := make([]Saved, len(j))
	for i, s := range j {
		if spots == nil {
			break
		}
		saved[i].at, spots = spots[:len(s.Fences)], spots[len(s.Fences):]
	}
	return saved, nil
}
