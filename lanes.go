package rouse

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rouse-es/rouse/eventstore"
)

// attemptAll hands the events of one batch to Config.Concurrency handlers at once, each with partitions of its own, and waits
// for all of them. It tells whether everything is done; it is not when the worker has to stop.
func (s *session) attemptAll(ctx, workCtx context.Context, events []eventstore.Event) (finished bool, err error) {
	defer s.idleAhead(workCtx)()
	lanes := s.lanes(events)
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for i := 1; i < len(lanes); i++ {
		wg.Go(func() { errs[i] = s.attempt(ctx, workCtx, lanes[i]) })
	}
	if len(lanes) > 0 {
		errs[0] = s.attempt(ctx, workCtx, lanes[0])
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	return ctx.Err() == nil || !slices.ContainsFunc(lanes, s.unfinished), nil
}

// lanes deals events out by their partitions: a partition is in one lane, and its events stay in order.
func (s *session) lanes(events []eventstore.Event) [][]eventstore.Event {
	n := s.w.cfg.Concurrency
	if n == 1 || len(events) < 2 {
		if len(events) == 0 {
			return nil
		}
		return [][]eventstore.Event{events}
	}
	lane := map[int]int{} // by partition, dealt out in the order in which they come
	dealt := make([][]eventstore.Event, n)
	for _, ev := range events {
		p := s.partition(ev)
		i, is := lane[p]
		if !is {
			i = len(lane) % n
			lane[p] = i
		}
		dealt[i] = append(dealt[i], ev)
	}
	return slices.DeleteFunc(dealt, func(l []eventstore.Event) bool { return len(l) == 0 })
}
