package rouse

import (
	"context"
	"errors"
	"slices"

	"github.com/rouse-es/rouse/partition"
)

func isHung(err error) bool {
	var hung *hungError
	return errors.As(err, &hung)
}

// abandon gives up the partitions of a handler that has not come back, until it does. Others may take them at once; under
// the new epoch nothing of the old transaction can commit.
func (r *runner) abandon(ctx context.Context, hung *hungError) {
	var slots []int16
	var partitions []int
	for _, ev := range hung.events {
		if !slices.Contains(slots, ev.Slot) {
			slots = append(slots, ev.Slot)
		}
		if p := partition.Of(ev.Slot, r.partitions); !slices.Contains(partitions, p) {
			partitions = append(partitions, p)
		}
	}
	r.avoid(slots, 1)
	go func() { // as long as the handler's own goroutine, or the worker
		select {
		case <-hung.back:
			r.avoid(slots, -1)
			r.log.Info().Ints(keyPartitions, partitions).Msg("the handler has come back after all, its partitions may be taken again")
		case <-r.w.ended:
		}
	}()
	first := hung.events[0]
	r.log.Error().Ints(keyPartitions, partitions).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).
		Msg("a handler has ignored the end of its context and not come back: its partitions are given up until it does (a handler must return when its context ends)")
	r.w.cfg.Observer.failed(r.name, len(hung.events), hung)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	if err := partition.Release(ctx, r.w.pool, r.name, r.w.instance, partitions); err != nil {
		r.log.Warn().Err(err).Msg("cannot give up the partitions of a handler that has not come back")
	}
}

// avoid counts handlers that have not come back, and tells the others. It counts by slot, because the number of partitions
// may change before a handler comes back.
func (r *runner) avoid(slots []int16, n int) {
	r.mu.Lock()
	for _, slot := range slots {
		if r.avoids[slot] += n; r.avoids[slot] == 0 {
			delete(r.avoids, slot)
		}
	}
	r.mu.Unlock()
	r.w.control.Beat()
}

// avoided are the partitions that this worker cannot take for the time being.
func (r *runner) avoided() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	avoided := make([]int, 0, len(r.avoids))
	for slot := range r.avoids {
		avoided = append(avoided, partition.Of(slot, r.partitions))
	}
	slices.Sort(avoided)
	return slices.Compact(avoided)
}
