package rouse

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/partition"
)

// settleInterval is how soon a worker looks again while partitions are not shared as they should be: others are about to give
// some up, or to claim. The pause doubles with every look that finds it still so, up to sweepInterval.
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
	s.wanted, s.settled = s.want(standing)
	s.paused = standing.Paused
	s.heed(standing.Barrier)
	return standing, nil
}

// want is the part of the partitions that this worker should own, and whether everybody has theirs. While others believe it to
// be dead it is what it has.
func (r *runner) want(standing partition.Standing) (mine []int, settled bool) {
	if standing.Paused {
		return []int{}, true
	}
	if r.w.cfg.static() {
		return without(partition.Share(r.w.cfg.WorkerIndex, r.w.cfg.TotalWorkers, r.partitions), r.avoided()), true
	}
	if !standing.Has(r.w.instance) {
		return standing.Owned(r.w.instance), false
	}
	plan := standing.Plan(r.w.instance, r.avoided())
	nobody := plan.Nobody
	if nobody > 0 && nobody != r.nobody && standing.First(r.w.instance) {
		r.log.Warn().Int(keyPartitions, nobody).Msg("nobody may take some partitions, because every worker has reached its MaxPartitions: their events are not handled until there are more workers")
	}
	r.nobody = nobody
	return plan.Mine, plan.Settled
}

// settling is when to look again, nil if everybody has what they should. It is not put off by what happens meanwhile.
func (s *session) settling() <-chan time.Time {
	if s.settled || s.settle != nil {
		return s.settle
	}
	s.pause = min(max(2*s.pause, settleInterval), sweepInterval)
	s.settle = time.After(s.pause)
	return s.settle
}

// looked takes note that the time to look again is over, and whether there was a change, so that the pauses begin anew.
func (s *session) looked(changed bool) {
	s.settle = nil
	s.seen = time.Now()
	if changed {
		s.pause, s.moved = 0, s.seen
	}
}

// rests tells whether there is no reason to look: everybody has what they should, nothing has changed for a while, and a change
// would be told.
func (s *session) rests() bool {
	return s.settled && s.w.control.Trusted() && time.Since(s.moved) > restAfter && time.Since(s.seen) < lookInterval
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
	s.planned.Store(len(extra)+len(missing) == 0 && s.settled)
	free, _ := standing.Free(missing, s.w.instance)
	if len(extra) == 0 && !free && !s.reread() && !standing.Reset {
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
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		s.standing()
		s.pulse.resting()
		changed := false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.changed:
			changed = true
		case <-s.settling():
		}
		s.looked(changed)
		s.pulse.working()
		s.changed = s.w.control.Changed()
		standing, err := s.look(ctx)
		if err != nil {
			return err
		}
		if free, _ := standing.Free(s.wanted, s.w.instance); free || standing.Reset || len(standing.Owned(s.w.instance)) > 0 {
			return nil
		}
	}
}

// standing says why this worker has nothing to do.
func (s *session) standing() {
	s.planned.Store(s.paused || s.settled && len(s.wanted) == 0)
	if s.paused || len(s.wanted) == 0 {
		s.caughtUp.Store(true)
	}
	if s.paused {
		s.setState(StatePaused)
		return
	}
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
