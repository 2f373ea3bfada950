package rouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

// sweepInterval is how often idle checkpoints are moved on and unowned partitions are looked for. Idle checkpoints have to
// be there within a second.
const sweepInterval = 900 * time.Millisecond

// What moves partitions or steers a projection changes the membership as the control sees it, many times a second; looking is for
// what nobody knows how to miss. So a session looks with every sweep only until restAfter after the last change, and then every
// lookInterval.
const (
	restAfter    = 10 * time.Second
	lookInterval = 30 * time.Second
)

// transientTries is how often a batch is tried as a whole when only other transactions are in its way.
const transientTries = 3

// session is the time during which a set of leases, taken in one incarnation of the database, is good. Everything in it is
// used by the runner's goroutine alone; that is why nothing is unfinished when it saves an idle partition.
type session struct {
	*runner
	events catchup.Log
	token  catchup.Token

	wanted  []int            // the partitions that this worker should own
	paused  bool             // somebody has paused the projection
	settled bool             // everybody owns what they should
	changed <-chan struct{}  // the membership is another one than when wanted was computed
	settle  <-chan time.Time // look again then; nil: not before the next sweep
	pause   time.Duration    // the last one before looking again
	moved   time.Time        // when the membership changed last, or the session began
	seen    time.Time        // when it looked last

	attempts attempts
	aside    aside

	suspectMu sync.Mutex   // protects suspects
	suspects  map[int]bool // partitions whose last owner has died and of which nothing was handled since

	fences  []*catchup.Fence // by partition; nil: not owned
	owned   int
	highest int64 // the highest floor claimed
	done    int64 // everything up to here that belongs to us is handled and saved or saved lazily
	idled   int64 // done, when idle partitions were last saved

	barrier int64 // nothing is handled beyond it for now
	cut     int64 // the barrier at which something that was read has been left out; partition.NoBarrier: nothing was
}

// hold takes note of what was claimed.
func (s *session) hold(leases []partition.Lease) {
	s.owned = len(leases)
	owned := make([]int, len(leases))
	for i, l := range leases {
		owned[i] = l.Partition
	}
	s.w.cfg.Observer.owns(s.name, owned)
	s.settled = s.w.cfg.static() // others may be claiming at the same time
	if s.owned == 0 {
		return
	}
	s.fences, s.suspects = make([]*catchup.Fence, s.partitions), map[int]bool{}
	s.done = leases[0].Floor
	for _, l := range leases {
		if l.Inherited {
			s.suspects[l.Partition] = true
		}
		s.fences[l.Partition] = &catchup.Fence{Partition: l.Partition, Epoch: l.Epoch, Floor: l.Floor}
		s.done = min(s.done, l.Floor)
		s.highest = max(s.highest, l.Floor)
	}
	s.idled = -1
	s.cut = partition.NoBarrier
}

func (s *session) run(ctx, workCtx context.Context) error {
	s.log.Info().Int(keyPartitions, s.owned).Int64(keyPosition, s.done).Msg("partitions claimed")
	s.progress.unknown()
	s.moved = time.Now()
	f := s.newFeed()
	s.feed.Store(f)
	feedCtx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); f.run(feedCtx) }()
	defer func() { cancel(); <-ended }()
	err := s.loop(ctx, workCtx, f)
	if err == nil && ctx.Err() != nil {
		err = s.idle(workCtx)
	}
	return err
}

// mine are the partitions owned.
func (s *session) mine() []int {
	var mine []int
	for p, fence := range s.fences {
		if fence != nil {
			mine = append(mine, p)
		}
	}
	return mine
}

func (s *session) loop(ctx, workCtx context.Context, f *feed) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	var due <-chan time.Time // of looking for parked events that somebody wants handled; nil: at the next tick
	for {
		s.pulse.working()
		if s.held() {
			if err := s.idle(workCtx); err != nil {
				return err
			}
		}
		changed := false
		s.pulse.resting()
		select {
		case <-ctx.Done():
			return nil
		case <-workCtx.Done():
			return context.Cause(workCtx)
		case b, open := <-s.input(f):
			if !open {
				if ctx.Err() != nil {
					return nil
				}
				return f.err
			}
			s.pulse.yielding() // to the handler, which has limits of its own
			if err := s.handle(ctx, workCtx, b); err != nil || ctx.Err() != nil {
				return err // after a stop the batch may be unfinished, and nothing may be handled beyond it
			}
			continue
		case <-due:
			s.pulse.yielding()
			more, err := s.unpark(ctx, workCtx)
			if err != nil {
				return err
			}
			if due = nil; more {
				due = time.After(dueRest)
			}
			continue
		case <-tick.C:
			if due == nil {
				due = time.After(0)
			}
			if err := s.idle(workCtx); err != nil {
				return err
			}
			if s.rests() {
				continue
			}
		case <-s.changed:
			changed = true
		case <-s.settling():
		}
		s.looked(changed)
		s.pulse.working()
		again, err := s.rebalance(ctx, workCtx)
		if ctx.Err() != nil {
			return nil // which may be why it failed
		}
		if err != nil || again {
			return err
		}
	}
}

// handle hands one batch to the projection.
func (s *session) handle(ctx, workCtx context.Context, b catchup.Batch) error {
	if b.Head < s.highest {
		return fmt.Errorf("%w: its head is %d and a checkpoint %d", catchup.ErrLogBehind, b.Head, s.highest)
	}
	b = s.within(b)
	events := s.fresh(b)
	if len(events) > 0 {
		s.w.tails.used.Store(time.Now().UnixNano())
	}
	if finished, err := s.attemptAll(ctx, workCtx, events); err != nil || !finished {
		return err
	}
	s.done = b.To
	s.progress.advance(b.To)
	switch behind := b.Head - b.To; {
	case !b.More:
		s.setState(StateLive)
	case behind > int64(4*s.w.cfg.BatchSize), s.state() == StateRetrying:
		s.setState(StateCatchingUp)
	}
	return nil
}

// fresh leaves out what a partition has handled before it came to this worker, and what the handler does not want.
func (s *session) fresh(b catchup.Batch) []eventstore.Event {
	if b.Partial {
		s.gaps.forget() // the versions in between are not here to be seen
	}
	kept := 0
	for i := range b.Events {
		ev := &b.Events[i]
		if ev.GlobalPosition <= s.fences[partition.Of(ev.Slot, s.partitions)].Floor {
			continue
		}
		if !b.Partial {
			s.gaps.see(ev)
		}
		if !s.work.scope.has(ev) {
			continue
		}
		if kept != i { // an event is large to copy, and mostly nothing is left out
			b.Events[kept] = *ev
		}
		kept++
	}
	return b.Events[:kept]
}

func (s *session) partition(ev eventstore.Event) int { return partition.Of(ev.Slot, s.partitions) }

func (s *session) fence(ev eventstore.Event) *catchup.Fence { return s.fences[s.partition(ev)] }

// unfinished tells whether a stop came between: the last event is not saved.
func (s *session) unfinished(events []eventstore.Event) bool {
	last := events[len(events)-1]
	return s.fence(last).Floor < last.GlobalPosition
}

// attempt handles events in order. What was tried before and not finished is handled by itself, the rest as one batch.
func (s *session) attempt(ctx, workCtx context.Context, events []eventstore.Event) error {
	for len(events) > 0 && ctx.Err() == nil {
		n := s.attempts.first(events)
		var err error
		switch {
		case n < 0:
			n = len(events)
			err = s.whole(ctx, workCtx, events)
		case n > 0:
			err = s.whole(ctx, workCtx, events[:n])
		default:
			n = 1
			err = s.single(ctx, workCtx, events[0])
		}
		if err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// whole handles events as one batch. If that fails for a reason that may be an event's, it is halved until the event is
// found, so that the good ones are not held up: about 2 log n transactions for one bad event among n. A batch that fails
// only as a whole is handled in halves. Events that may have killed the last owner are noted first.
func (s *session) whole(ctx, workCtx context.Context, events []eventstore.Event) error {
	if suspects := s.suspected(events); len(suspects) > 0 {
		if err := s.note(workCtx, suspects); err != nil {
			return err
		}
	}
	if s.work.effect != nil {
		return s.effects(ctx, workCtx, events)
	}
	err := s.commit(workCtx, events)
	if err == nil || !blamesHandler(workCtx, err) {
		return err
	}
	s.failed(events, err)
	s.setState(StateRetrying)
	return s.halve(ctx, workCtx, events)
}

// single handles one event by itself, as often as it takes.
func (s *session) single(ctx, workCtx context.Context, ev eventstore.Event) error {
	one := []eventstore.Event{ev}
	if s.work.effect != nil {
		return s.effects(ctx, workCtx, one)
	}
	return s.retry(ctx, workCtx, ev, func() error { return s.commitOne(workCtx, one) })
}

// halve handles a batch that has failed. It returns nil when a stop came between.
func (s *session) halve(ctx, workCtx context.Context, events []eventstore.Event) error {
	if len(events) == 1 {
		return s.single(ctx, workCtx, events[0])
	}
	middle := len(events) / 2
	for _, half := range [][]eventstore.Event{events[:middle], events[middle:]} {
		err := s.commit(workCtx, half)
		if err != nil && blamesHandler(workCtx, err) {
			err = s.halve(ctx, workCtx, half)
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// commit handles events and saves, in one transaction, which is tried again if only other transactions were in its way.
func (s *session) commit(ctx context.Context, events []eventstore.Event) (err error) {
	for range transientTries {
		err = s.together(ctx, events, s.work.together)
		if !isTransient(err) {
			break
		}
	}
	return err
}

func (s *session) commitOne(ctx context.Context, one []eventstore.Event) error {
	return s.together(ctx, one, s.work.applied)
}

// together handles events by a way of the work, or sorts out those that belong behind parked ones.
func (s *session) together(ctx context.Context, events []eventstore.Event, way func(context.Context, []eventstore.Event, ending) error) error {
	return s.observed(ctx, events, func(ctx context.Context) error {
		return s.saving(events, func(end ending) (int, error) {
			if behind := s.aside.among(events); behind != nil {
				return s.work.sorted(ctx, events, end, behind, &s.aside)
			}
			return len(events), way(ctx, events, end)
		})
	})
}

func (s *session) failed(events []eventstore.Event, err error) {
	s.w.cfg.Observer.failed(s.name, len(events), err)
	first := events[0]
	s.log.Warn().Err(err).Int(keyEvents, len(events)).Int64(keyPosition, first.GlobalPosition).
		Str(keyAggregateType, first.AggregateType).Str(keyAggregateID, first.AggregateID).Msg("handling failed, trying again")
}

// blamesHandler tells whether a failed attempt may be an event's or its handler's fault.
func blamesHandler(workCtx context.Context, err error) bool {
	var away outage
	return !errors.As(err, &away) && !errors.Is(err, catchup.ErrFenced) && !isHung(err) && workCtx.Err() == nil
}
