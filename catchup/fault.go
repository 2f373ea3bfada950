//go:build !rousefault

package catchup

import "github.com/jackc/pgx/v5"

// spoilt queues another save in place of the sound one, or nothing. It never does; a build with the tag rousefault has another
// version of this function, by which the tests prove that they would notice.
func (Save) spoilt(*pgx.Batch) *pgx.QueuedQuery { return nil }
