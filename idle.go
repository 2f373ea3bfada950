package rouse

import (
	"context"

	"github.com/rouse-es/rouse/catchup"
)

// idle moves the checkpoints of partitions that had no events on to the last visible event. There is nothing unfinished
// below done, because the one goroutine that handles events is the one that is here.
func (s *session) idle(ctx context.Context) error {
	if s.done == s.idled {
		return nil
	}
	last, err := s.rest(ctx)
	if err != nil {
		return err
	}
	var behind []*catchup.Fence
	for _, fence := range s.fences {
		if fence != nil && fence.Floor < last {
			behind = append(behind, fence)
		}
	}
	if len(behind) > 0 {
		if err := s.work.save(ctx, ending{save: s.save(behind, last)}); err != nil {
			return err
		}
		for _, fence := range behind {
			fence.Floor = last
		}
	}
	s.idled = s.done
	return nil
}

// rest is where partitions that had no events come to rest. At a barrier that is the barrier, which is a checkpoint already.
func (s *session) rest(ctx context.Context) (int64, error) {
	if s.done == s.barrier {
		return s.barrier, nil
	}
	return catchup.LastVisible(ctx, s.w.pool, s.done)
}
