package projector

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/partition"
)

// hungRest is how long a worker leaves the partitions of a hung handler alone. After that it may try again, if no other
// worker has taken them: each try is counted, and after too many the event is given up.
const hungRest = 30 * time.Second

// abandon gives up the partitions of a handler that has not returned, until it does. Other workers may take them at
// once; under the new epoch the old transaction cannot commit.
func (s *session) abandon(ctx context.Context, hung *apply.HungError) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	var slots []int16
	var partitions []int
	for _, ev := range hung.Events {
		if !slices.Contains(slots, ev.Slot) {
			slots = append(slots, ev.Slot)
		}
		if p := partition.Of(ev.Slot, s.total()); !slices.Contains(partitions, p) {
			partitions = append(partitions, p)
		}
	}
	first := hung.Events[0]
	s.log.Error().Ints(keyPartitions, partitions).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).
		Msg("a handler has ignored the end of its context and not come back: its partitions are given up until it does (a handler must return when its context ends)")
	if s.cfg.Hooks.Failed != nil {
		s.cfg.Hooks.Failed(len(hung.Events), hung)
	}
	if err := s.applier.NoteTried(ctx, hung.Events); err != nil {
		s.log.Warn().Err(err).Msg("cannot write down that a handler has not come back")
	}
	s.avoids.until(hung.Back, slots, partitions)
	if err := partition.Release(ctx, s.process.Pool, s.cfg.Name, s.process.Instance, partitions); err != nil {
		s.log.Warn().Err(err).Msg("cannot give up the partitions of a handler that has not come back")
	}
}

// avoids counts the handlers that have not returned, by slot, because the number of partitions may change before one
// does. Its methods may be called by many goroutines.
type avoids struct {
	log     zerolog.Logger
	control *partition.Control // beats after every change, so that the other members see it
	ended   <-chan struct{}    // closed when the worker has ended; until's goroutines wait for it

	mu    sync.Mutex // protects slots
	slots map[int16]int
}

// newAvoids returns an avoids that avoids no slot.
func newAvoids(log zerolog.Logger, process Process) *avoids {
	return &avoids{log: log, control: process.Control, ended: process.Ended, slots: map[int16]int{}}
}

// until keeps the worker from taking the partitions of slots until back is closed, for hungRest at most.
func (a *avoids) until(back <-chan struct{}, slots []int16, partitions []int) {
	a.add(slots, 1)
	// Nothing waits for this goroutine; it ends with hungRest or with the worker.
	go func() {
		rest := time.NewTimer(hungRest)
		defer rest.Stop()
		select {
		case <-back:
			a.log.Info().Ints(keyPartitions, partitions).Msg("the handler has come back after all, its partitions may be taken again")
		case <-rest.C:
		case <-a.ended:
			return
		}
		a.add(slots, -1)
	}()
}

// add adds n to the count of each slot, and sends a heartbeat.
func (a *avoids) add(slots []int16, n int) {
	a.mu.Lock()
	for _, slot := range slots {
		if a.slots[slot] += n; a.slots[slot] == 0 {
			delete(a.slots, slot)
		}
	}
	a.mu.Unlock()
	a.control.Beat()
}

// of returns the partitions to avoid in a projection with total partitions, rising.
func (a *avoids) of(total int) []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	avoided := make([]int, 0, len(a.slots))
	for slot := range a.slots {
		avoided = append(avoided, partition.Of(slot, total))
	}
	slices.Sort(avoided)
	return slices.Compact(avoided)
}
