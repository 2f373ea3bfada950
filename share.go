package rouse

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/partition"
)

// settleInterval is how often a worker looks whether partitions that it waits for have been given up.
const settleInterval = 20 * time.Millisecond

// look reads how the partitions are shared, and computes from it which of them this worker should own.
func (s *session) look(ctx context.Context) (partition.Standing, error) {
	standing, err := partition.Look(ctx, s.w.pool, s.name)
	if err != nil {
		return standing, err
	}
	if err := standing.Mixed(s.w.instance, s.w.cfg.static()); err != nil {
		return standing, err
	}
	if len(standing.Owners) != s.partitions {
		return standing, partition.ErrResized
	}
	s.wanted = s.want(standing)
	s.heed(standing.Barrier)
	return standing, nil
}

// want is the part of the partitions that this worker should own. While others believe it to be dead it is what it has.
func (r *runner) want(standing partition.Standing) []int {
	if r.w.cfg.static() {
		return without(partition.Share(r.w.cfg.WorkerIndex, r.w.cfg.TotalWorkers, r.partitions), r.avoided())
	}
	if !standing.Has(r.w.instance) {
		return standing.Owned(r.w.instance)
	}
	mine, nobody := standing.Plan(r.w.instance, r.avoided())
	if nobody > 0 && nobody != r.nobody && standing.First(r.w.instance) {
		r.log.Warn().Int(keyPartitions, nobody).Msg("nobody may take some partitions, because every worker has reached its MaxPartitions: their events are not handled until there are more workers")
	}
	r.nobody = nobody
	return mine
}

// settling ticks while others own partitions that this worker should have.
func (s *session) settling(tick *time.Ticker) <-chan time.Time {
	if !s.waiting {
		return nil
	}
	return tick.C
}

// rebalance looks whether the partitions are still shared as they should be. What is to go is saved and given up here; then,
// or when there is something to take, it returns true, and the next session claims. It runs between two batches.
func (s *session) rebalance(ctx, workCtx context.Context) (again bool, err error) {
	s.changed = s.w.control.Changed()
	standing, err := s.look(ctx)
	if err != nil {
		return false, err
	}
	mine := s.mine()
	for _, p := range mine {
		if p >= len(standing.Owners) || standing.Owners[p] != s.w.instance {
			return false, catchup.ErrFenced
		}
	}
	extra, missing := without(mine, s.wanted), without(s.wanted, mine)
	free, _ := standing.Free(missing, s.w.instance)
	s.waiting = len(missing) > 0
	if len(extra) == 0 && !free && !s.reread() {
		return false, nil
	}
	if err := s.idle(workCtx); err != nil {
		return false, err
	}
	if len(extra) > 0 {
		if err := partition.Release(workCtx, s.w.pool, s.name, s.w.instance, extra); err != nil {
			return false, err
		}
		s.log.Info().Int(keyPartitions, len(extra)).Msg("partitions given up to others")
	}
	return true, nil
}

// standby waits until there is something to claim.
func (s *session) standby(ctx context.Context) error {
	tick, settle := time.NewTicker(sweepInterval), time.NewTicker(settleInterval)
	defer tick.Stop()
	defer settle.Stop()
	for {
		s.standing()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.changed:
		case <-s.settling(settle):
		}
		s.changed = s.w.control.Changed()
		standing, err := s.look(ctx)
		if err != nil {
			return err
		}
		if free, _ := standing.Free(s.wanted, s.w.instance); free || len(standing.Owned(s.w.instance)) > 0 {
			return nil
		}
		s.waiting = len(s.wanted) > 0 && !s.w.cfg.static()
	}
}

// standing says why this worker has nothing to do.
func (s *session) standing() {
	none := len(s.wanted) == 0
	if none {
		s.progress.advance(math.MaxInt64) // there is nothing that anybody could wait for
	}
	switch changed := s.setState(StateStandby); {
	case !changed:
	case none:
		s.log.Warn().Int(keyPartitions, s.partitions).Msg("there are more workers than partitions, this one has nothing to do")
	case s.w.cfg.static():
		s.log.Warn().Msg("another process owns the partitions of this worker, standing by until it is gone (is the same WORKER_ID used twice?)")
	default:
		s.log.Info().Int(keyPartitions, len(s.wanted)).Msg("waiting for partitions that others are about to give up")
	}
}

// without returns the numbers of a that are not in b.
func without(a, b []int) []int {
	var rest []int
	for _, n := range a {
		if !slices.Contains(b, n) {
			rest = append(rest, n)
		}
	}
	return rest
}
