package apply

import (
	"context"
	"fmt"
	"sync"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// Untold are the tries of one projection in this process that are written down in event_attempts and have ended without a verdict on
// their event: in an outage of the database, with the loss of a lease, or in a stop. They outlive the Applier, because what ends
// them ends its session too. The zero value has none; its methods may be called by several goroutines.
type Untold struct {
	mu    sync.Mutex // protects times
	times map[int64]int
}

// add notes that a try at each of events has ended without a verdict.
func (u *Untold) add(events ...eventstore.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.times == nil {
		u.times = map[int64]int{}
	}
	for _, ev := range events {
		u.times[ev.GlobalPosition]++
	}
}

// TakeBack takes these tries back in the database. It does nothing, without a statement, where there are none. Call it before the
// attempts are read, and when the process leaves: a process that cannot has them counted, as if it had died of them.
func (u *Untold) TakeBack(ctx context.Context, pool *db.Pool, projection string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.times) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var positions []int64
	var times []int32
	for position, n := range u.times {
		positions, times = append(positions, position), append(times, int32(n))
	}
	if err := db.Exec(ctx, pool, sqlAttemptsBack.In(pool.Schema), projection, positions, times); err != nil {
		return fmt.Errorf("rouse: take tries back that an outage has ended: %w", err)
	}
	u.times = nil
	return nil
}
