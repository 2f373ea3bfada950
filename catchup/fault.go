//go:build !rousefault

package catchup

import "github.com/jackc/pgx/v5"

// The faults, which no ordinary build has; see internal/knownbad.
const (
	horizonless = false
	remembered  = false
)

// spoilt queues another save in place of the sound one, or nothing. Here it never does.
func (Save) spoilt(*pgx.Batch) *pgx.QueuedQuery { return nil }
