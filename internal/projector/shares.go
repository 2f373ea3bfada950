package projector

import (
	"context"
	"slices"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/partition"
)

// minLookPause is the first pause before a worker looks again while partitions are not shared as they should be,
// because other workers are about to give some up or to claim. It doubles with every look that finds no balance, up to
// sweepInterval.
const minLookPause = 20 * time.Millisecond

// The control watches the membership, and reports every move of partitions and every operator's command as a change of it; a look serves
// the changes that are not reported. So after a change a session looks with the next sweep, then each time when as much time has passed
// again as since the change, until quietAfter, and then every quietInterval. A worker of 200 schemas would else ask 222 times a second.
const (
	quietAfter    = 10 * time.Second
	quietInterval = 5 * time.Minute
)

// shares is the division of a projection's partitions, as one member sees it, and the time of its next look. It is for
// one goroutine.
type shares struct {
	wanted   []int // the partitions that this worker should own; written by look
	paused   bool  // an operator has paused the projection; written by look
	unknown  bool  // the others do not count this worker yet, or any longer; written by look
	stopped  bool  // a worker has stopped the projection, and none has taken it up since; written by look
	alone    bool  // there is no other member; written by look
	balanced bool  // every member owns the partitions that it should; written by look

	changed <-chan struct{}  // closed by the control when the membership differs from the one that wanted was computed from; loop and standby wait for it
	due     <-chan time.Time // fires when to look again; nil: not before the next sweep
	pause   time.Duration    // the last pause before a look; 0: none since the last change
	moved   time.Time        // when the membership changed last, or the session began
	seen    time.Time        // when it last looked
}

// nextLook returns a channel that fires when to look again, nil if every member owns the partitions that it should.
// Calling it again does not put the look off.
func (s *shares) nextLook() <-chan time.Time {
	if s.balanced || s.due != nil {
		return s.due
	}
	s.pause = min(max(2*s.pause, minLookPause), sweepInterval)
	s.due = time.After(s.pause)
	return s.due
}

// noteLook notes a look; changed reports whether a change of the membership led to it, so that the pauses begin anew.
func (s *shares) noteLook(changed bool) {
	s.due = nil
	s.seen = time.Now()
	if changed {
		s.pause, s.moved = 0, s.seen
	}
}

// membershipQuiet reports whether there is no reason to look: every member owns the partitions that it should, the control reports
// changes (trusted), and the last look is not as long ago as it was after the last change then, or is younger than quietInterval where
// nothing has changed for quietAfter.
func (s *shares) membershipQuiet(trusted bool, now time.Time) bool {
	until := s.seen.Add(s.seen.Sub(s.moved))
	if now.Sub(s.moved) > quietAfter {
		until = s.seen.Add(quietInterval)
	}
	return s.balanced && trusted && now.Before(until)
}

// look reads how the partitions are shared, and computes which of them this worker should own.
func (s *session) look(ctx context.Context) (partition.Standing, error) {
	standing, err := s.process.Census.stood.answer(ctx, s.cfg.Name)
	if err != nil {
		return standing, err
	}
	if err := standing.Mixed(s.process.Instance, s.process.static()); err != nil {
		return standing, err
	}
	s.Rest(standing.Version)
	if len(standing.Owners) != s.total() {
		return standing, partition.ErrResized
	}
	s.shares.wanted, s.shares.balanced = s.want(standing)
	s.shares.alone = len(standing.Members) == 1 && standing.Has(s.process.Instance)
	s.shares.unknown = !standing.Has(s.process.Instance)
	s.shares.paused, s.shares.stopped = standing.Paused, standing.Stopped
	if s.barrier.setBarrier(standing.Barrier) {
		s.idled = -1 // partitions may have to come to rest elsewhere
		s.idle.soon()
	}
	return standing, nil
}

// want returns the partitions that this worker should own, and whether every member owns those that it should. While
// the other members take this worker for dead, it is the partitions that it owns.
func (s *session) want(standing partition.Standing) (mine []int, balanced bool) {
	if standing.Paused || s.Resting() {
		return []int{}, true
	}
	if s.process.static() {
		return without(partition.Share(s.process.Index, s.process.Total, s.total()), s.Avoided()), true
	}
	if !standing.Has(s.process.Instance) {
		return standing.Owned(s.process.Instance), false
	}
	plan := standing.Plan(s.process.Instance, s.Avoided())
	if plan.Nobody > 0 && plan.Nobody != s.nobody && standing.First(s.process.Instance) {
		s.log.Warn().Int(keyPartitions, plan.Nobody).Msg("nobody may take some partitions, because every worker has reached its MaxPartitions:" +
			" their events are not handled until there are more workers")
	}
	s.nobody = plan.Nobody
	return plan.Mine, plan.Balanced
}

// rebalance looks whether the partitions are still shared as they should be. It saves and gives up the partitions
// beyond the share. It returns true if any were given up, or there are some to take, a reset is requested or a barrier
// has moved: then the next session claims. Call it between two batches.
func (s *session) rebalance(ctx, workCtx context.Context) (again bool, err error) {
	instance := s.process.Instance
	s.shares.changed = s.process.Control.Changed()
	standing, err := s.look(ctx)
	if err != nil {
		return false, err
	}
	mine := s.checkpoints.Owned()
	for _, p := range mine {
		if p >= len(standing.Owners) || standing.Owners[p] != instance {
			return false, catchup.ErrFenced
		}
	}
	extra, missing := without(mine, s.shares.wanted), without(s.shares.wanted, mine)
	s.planned.Store(len(extra)+len(missing) == 0 && s.shares.balanced)
	free, _ := standing.Free(missing, instance)
	if len(extra) == 0 && !free && !s.barrier.mustReread() && !standing.Reset {
		return false, nil
	}
	if err := s.advanceIdle(workCtx); err != nil {
		return false, err
	}
	if len(extra) > 0 {
		if err := partition.Release(workCtx, s.process.Pool, s.cfg.Name, instance, extra); err != nil {
			return false, err
		}
		s.log.Info().Int(keyPartitions, len(extra)).Msg("partitions given up to others")
	}
	return true, nil
}

// standby looks again until there is a partition to claim or a reset to do, or ctx is cancelled, and then returns nil.
func (s *session) standby(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	s.shares.moved = time.Now()
	for {
		s.enterStandby()
		s.pulse.Resting()
		changed := false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.planned.Load() && s.shares.membershipQuiet(s.process.Control.Trusted(), time.Now()) {
				continue
			}
		case <-s.shares.changed:
			changed = true
		case <-s.shares.nextLook():
		}
		s.shares.noteLook(changed)
		s.pulse.Working()
		s.shares.changed = s.process.Control.Changed()
		standing, err := s.look(ctx)
		if err != nil {
			return err
		}
		instance := s.process.Instance
		if free, _ := standing.Free(s.shares.wanted, instance); free || standing.Reset || len(standing.Owned(instance)) > 0 {
			return nil
		}
	}
}

// enterStandby shows and logs why this worker has no partition.
func (s *session) enterStandby() {
	none := len(s.shares.wanted) == 0
	s.planned.Store(s.shares.paused || s.shares.balanced && none)
	if s.shares.paused || none {
		s.caughtUp.Store(true)
	}
	if s.shares.paused {
		s.setState(Paused)
		return
	}
	if none {
		s.progress.nothing() // there is nothing that a caller could wait for
	}
	switch changed := s.setState(Standby); {
	case !changed, s.Resting(), none && s.shares.unknown && !s.process.static():
	case none:
		s.log.Warn().Int(keyPartitions, s.total()).Msg("there are more workers than partitions, this one has nothing to do")
	case s.process.static():
		s.log.Warn().Msg("another process owns the partitions of this worker, standing by until it is gone (is the same WORKER_ID used twice?)")
	default:
		s.log.Info().Int(keyPartitions, len(s.shares.wanted)).Msg("waiting for partitions that others are about to give up")
	}
}

// terminateDead ends the sessions of dead workers on the server. Where the role has no right to, their transactions
// time out.
func (p *Projector) terminateDead(ctx context.Context) {
	ended, err := partition.Terminate(ctx, p.cfg.Process.Pool, p.cfg.Name)
	switch {
	case err != nil:
		p.log.Debug().Err(err).Msg("cannot end the sessions of a dead worker, they will time out")
	case ended > 0:
		p.log.Warn().Int("sessions", ended).Msg("a worker is dead, its sessions are ended")
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
