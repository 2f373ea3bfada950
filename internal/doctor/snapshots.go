package doctor

import (
	"context"
	"fmt"
	"strings"
)

const (
	// deadWarn is how many dead rows of checkpoints, or of workers, are a finding: ten times what autovacuum waits for with the first.
	deadWarn = 20_000

	// transactionsWarn is over how many transactions a slot or a standby, whose time is not known, may hold on to rows.
	transactionsWarn = 100_000
)

// snapshots looks for what keeps the dead rows of checkpoints from being cleaned up, which makes every look at them slower. What has been left
// open idle is the matter of the check of idle sessions.
func (e *examination) snapshots(context.Context) ([]Finding, error) {
	var found []Finding
	if s := e.state.OldestSnapshot; s != nil && !strings.HasPrefix(s.State, "idle in transaction") {
		const why = "rows that are dead since stay, and whoever looks at the checkpoints or the members walks over them"
		switch {
		case s.What == "session" && s.AgeSeconds != nil && *s.AgeSeconds >= e.Long.Seconds():
			found = append(found, warn(fmt.Sprintf("wait for its end, or end it with: select pg_terminate_backend(%d)", s.PID),
				"session %d of %q, role %s, %s, has looked at the database of %s ago: %s", s.PID, s.Name, s.Role, s.State, age(*s.AgeSeconds), why))
		case s.What == "slot" && s.Transactions >= transactionsWarn:
			found = append(found, warn("start who reads from it, or drop it: select pg_drop_replication_slot('"+s.Name+"')",
				"the replication slot %q, %s, holds on to rows of %d transactions ago: %s", s.Name, s.State, s.Transactions, why))
		case s.What == "standby" && s.Transactions >= transactionsWarn:
			found = append(found, warn("look for a long query on it, or switch its hot_standby_feedback off",
				"the standby %q holds on to rows of %d transactions ago: %s", s.Name, s.Transactions, why))
		}
	}
	if dead := e.state.DeadCheckpoints; dead >= deadWarn {
		found = append(found, warn("end what holds on to them, and run: vacuum projection_checkpoints",
			"projection_checkpoints has %d dead rows, and claims, looks and reports walk over them", dead))
	}
	if dead := e.state.DeadWorkers; dead >= deadWarn {
		found = append(found, warn("end what holds on to them, and run: vacuum projection_workers",
			"projection_workers has %d dead rows, and each look at the members walks over them", dead))
	}
	unseen := ""
	if !e.state.SeesSnapshots {
		unseen = "; those of other roles cannot be seen without pg_read_all_stats"
	}
	return orOK(found, "none is old, and there are %d dead rows of checkpoints and %d of workers%s", e.state.DeadCheckpoints, e.state.DeadWorkers, unseen), nil
}
