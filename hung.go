package rouse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

func isHung(err error) bool {
	var hung *hungError
	return errors.As(err, &hung)
}

// hungRest is how long a worker leaves partitions alone whose handler has not come back. After that it may try again, if
// nobody else has: each try is counted, and when there were too many, the event is given up.
const hungRest = 30 * time.Second

// abandon gives up the partitions of a handler that has not come back, until it does. Others may take them at once; under
// the new epoch nothing of the old transaction can commit.
func (s *session) abandon(ctx context.Context, hung *hungError) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	var slots []int16
	var partitions []int
	var unnoted []eventstore.Event
	for _, ev := range hung.events {
		if !slices.Contains(slots, ev.Slot) {
			slots = append(slots, ev.Slot)
		}
		if p := s.partition(ev); !slices.Contains(partitions, p) {
			partitions = append(partitions, p)
		}
		if _, noted := s.attempts.of(ev); !noted {
			unnoted = append(unnoted, ev)
		}
	}
	first := hung.events[0]
	s.log.Error().Ints(keyPartitions, partitions).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).
		Msg("a handler has ignored the end of its context and not come back: its partitions are given up until it does (a handler must return when its context ends)")
	s.w.cfg.Observer.failed(s.name, len(hung.events), hung)
	if len(unnoted) > 0 {
		if err := s.note(ctx, unnoted); err != nil {
			s.log.Warn().Err(err).Msg("cannot write down that a handler has not come back")
		}
	}
	s.leave(slots, partitions, hung.back)
	if err := partition.Release(ctx, s.w.pool, s.name, s.w.instance, partitions); err != nil {
		s.log.Warn().Err(err).Msg("cannot give up the partitions of a handler that has not come back")
	}
}

// leave keeps the worker from taking partitions until the handler has come back, or for hungRest.
func (r *runner) leave(slots []int16, partitions []int, back <-chan struct{}) {
	r.avoid(slots, 1)
	go func() { // not longer than hungRest, or the worker
		rest := time.NewTimer(hungRest)
		defer rest.Stop()
		select {
		case <-back:
			r.log.Info().Ints(keyPartitions, partitions).Msg("the handler has come back after all, its partitions may be taken again")
		case <-rest.C:
		case <-r.w.ended:
			return
		}
		r.avoid(slots, -1)
	}()
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
