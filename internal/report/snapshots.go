package report

import (
	"context"
	_ "embed" // the statements
	"errors"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/snapshots.sql
	snapshotsSQL string
	//go:embed sql/dead_rows.sql
	deadRowsSQL string
)

// Snapshot is what keeps dead rows from being cleaned up: a session that looks at the database of a moment ago, such as a long report
// or a dump, a prepared transaction, a replication slot, or a standby with hot_standby_feedback.
type Snapshot struct {
	What  string `json:"what"` // session, prepared, slot or standby
	PID   int    `json:"pid"`  // 0: it has no process
	Name  string `json:"name"` // of the program, the transaction, the slot or the standby
	Role  string `json:"role"`
	State string `json:"state"`

	// AgeSeconds is how long its transaction has been open; nil: not known. Transactions is how many have begun since.
	AgeSeconds   *float64 `json:"age_seconds"`
	Transactions int64    `json:"transactions"`
}

// readSnapshots reads the oldest snapshot and the dead rows.
func (r *Report) readSnapshots(ctx context.Context, tx pgx.Tx) error {
	var s Snapshot
	var pid *int
	err := tx.QueryRow(ctx, snapshotsSQL).Scan(&s.What, &pid, &s.Name, &s.Role, &s.State, &s.AgeSeconds, &s.Transactions)
	switch {
	case err == nil:
		if pid != nil {
			s.PID = *pid
		}
		r.OldestSnapshot = &s
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	return tx.QueryRow(ctx, deadRowsSQL).Scan(&r.DeadCheckpoints, &r.DeadWorkers, &r.SeesSnapshots)
}
