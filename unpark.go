package rouse

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
)

const (
	// dueLimit is how many parked events are handled in one go, before what is new gets its turn again.
	dueLimit = 100

	// dueRest is the pause between two goes, so that a long queue takes a share of the worker and not all of it.
	dueRest = 5 * time.Millisecond
)

// errDiscarded means that a parked event was discarded while it was handled again; its transaction is rolled back.
var errDiscarded = errors.New("rouse: a parked event was discarded")

// unpark handles parked events again that somebody wants handled, each aggregate's in order, and tells whether there may be
// more of them at once. It runs between two batches, on the goroutine that owns the partitions.
func (s *session) unpark(ctx, workCtx context.Context) (more bool, err error) {
	if !s.aside.any() {
		return false, nil
	}
	due, err := parked.Due(workCtx, s.w.pool, s.name, s.partitions, s.mine(), dueLimit)
	if err != nil {
		return false, err
	}
	for rest := due; len(rest) > 0 && ctx.Err() == nil; {
		n := 1
		for n < len(rest) && rest[n].Stream() == rest[0].Stream() {
			n++
		}
		if err := s.unparkAggregate(workCtx, rest[:n]); err != nil {
			return false, err
		}
		rest = rest[n:]
	}
	return len(due) > 0, nil
}

// unparkAggregate handles parked events of one aggregate: all at once, and if that fails one after the other up to the one
// that still cannot be handled.
func (s *session) unparkAggregate(workCtx context.Context, events []eventstore.Event) error {
	err := s.again(workCtx, events)
	if err == nil || errors.Is(err, errDiscarded) {
		return nil
	}
	if !blamesHandler(workCtx, err) {
		return err
	}
	if len(events) > 1 {
		for i := range events {
			if err = s.again(workCtx, events[i:i+1]); err != nil {
				events = events[i:]
				break
			}
		}
		if err == nil || errors.Is(err, errDiscarded) {
			return nil
		}
		if !blamesHandler(workCtx, err) {
			return err
		}
	}
	s.failed(events[:1], err)
	return parked.Failed(workCtx, s.w.pool, s.name, events[0], reason(err))
}

// again handles parked events of one aggregate in one transaction that takes them out of the queue. The checkpoint stays where
// it is; the save tests that the partition is still owned.
func (s *session) again(workCtx context.Context, events []eventstore.Event) error {
	fence := s.fence(events[0])
	end := ending{save: s.save(s.touched(events), fence.Floor)}
	end.also = append(end.also, func(batch *pgx.Batch) {
		parked.Handled(batch, s.name, events).Fn = func(results pgx.BatchResults) error {
			_, err := results.Exec()
			if isDivision(err) {
				return errDiscarded
			}
			return err
		}
	})
	if s.work.effect != nil {
		for _, ev := range events {
			err := s.work.call(s.leased(workCtx, ev), ev, func(ctx context.Context) error { return s.work.effect.Do(ctx, ev) })
			if err != nil {
				return s.lost(events, err)
			}
		}
	}
	var still parked.Set
	err := s.work.acquire(workCtx, func(conn *pgx.Conn) error {
		tx, err := s.work.begin(workCtx, conn, func(batch *pgx.Batch) {
			parked.Hold(batch, s.name, end.partitions(), parked.Set{events[0].Stream(): {}}, &still)
		})
		if err != nil {
			return err
		}
		return s.work.within(workCtx, conn, tx, events, end)
	})
	if err != nil {
		return s.lost(events, err)
	}
	s.handled.Add(int64(len(events)))
	s.log.Info().Int(keyEvents, len(events)).Str(keyAggregateType, events[0].AggregateType).Str(keyAggregateID, events[0].AggregateID).
		Msg("parked events are handled")
	return nil
}
