package rouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

// sweepInterval is how often idle checkpoints are moved on and unowned partitions are looked for. Idle checkpoints have to
// be there within a second.
const sweepInterval = 900 * time.Millisecond

// transientTries is how often a batch is tried as a whole when only other transactions are in its way.
const transientTries = 3

// session is the time during which a set of leases, taken in one incarnation of the database, is good. Everything in it is
// used by the runner's goroutine alone; that is why nothing is unfinished when it saves an idle partition.
type session struct {
	*runner
	events catchup.Log
	token  catchup.Token

	wanted  []int            // the partitions that this worker should own
	settled bool             // everybody owns what they should
	changed <-chan struct{}  // the membership is another one than when wanted was computed
	settle  <-chan time.Time // look again then; nil: not before the next sweep
	pause   time.Duration    // the last one before looking again

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
	s.settled = s.w.cfg.static() // others may be claiming at the same time
	if s.owned == 0 {
		return
	}
	s.fences = make([]*catchup.Fence, s.partitions)
	s.done = leases[0].Floor
	for _, l := range leases {
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
	f := s.w.newFeed(catchup.NewReader(s.w.pool, s.events, s.token, catchup.SlotsOf(s.mine(), s.partitions), s.done))
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
	for {
		if s.held() {
			if err := s.idle(workCtx); err != nil {
				return err
			}
		}
		changed := false
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
			if err := s.handle(ctx, workCtx, b); err != nil || ctx.Err() != nil {
				return err // after a stop the batch may be unfinished, and nothing may be handled beyond it
			}
			continue
		case <-tick.C:
			if err := s.idle(workCtx); err != nil {
				return err
			}
		case <-s.changed:
			changed = true
		case <-s.settling():
		}
		s.looked(changed)
		if again, err := s.rebalance(ctx, workCtx); err != nil || again {
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
	if finished, err := s.attemptAll(ctx, workCtx, s.fresh(b.Events)); err != nil || !finished {
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
func (s *session) fresh(events []eventstore.Event) []eventstore.Event {
	kept := events[:0]
	for _, ev := range events {
		if ev.GlobalPosition > s.fence(ev).Floor {
			s.gaps.see(ev)
			if s.work.scope.has(ev) {
				kept = append(kept, ev)
			}
		}
	}
	return kept
}

func (s *session) fence(ev eventstore.Event) *catchup.Fence {
	return s.fences[partition.Of(ev.Slot, s.partitions)]
}

// unfinished tells whether a stop came between: the last event is not saved.
func (s *session) unfinished(events []eventstore.Event) bool {
	last := events[len(events)-1]
	return s.fence(last).Floor < last.GlobalPosition
}

// attempt handles events as one batch. If that fails for a reason that may be an event's, it is halved until the event is
// found, so that the good ones are not held up: about 2 log n transactions for one bad event among n. A batch that fails
// only as a whole is handled in halves.
func (s *session) attempt(ctx, workCtx context.Context, events []eventstore.Event) error {
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

// halve handles a batch that has failed. It returns nil when a stop came between.
func (s *session) halve(ctx, workCtx context.Context, events []eventstore.Event) error {
	if len(events) == 1 {
		return s.retry(ctx, workCtx, events[0], func() error { return s.commitOne(workCtx, events) })
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
		err = s.saving(events, func(save catchup.Save) error { return s.work.together(ctx, events, save) })
		if !isTransient(err) {
			break
		}
	}
	return err
}

func (s *session) commitOne(ctx context.Context, one []eventstore.Event) error {
	return s.saving(one, func(save catchup.Save) error { return s.work.applied(ctx, one, save) })
}

// saving makes the save of events, gives it to f, and takes note of it if f succeeds.
func (s *session) saving(events []eventstore.Event, f func(save catchup.Save) error) error {
	began := time.Now()
	var touched []*catchup.Fence
	seen := make(map[*catchup.Fence]struct{}, s.owned)
	for _, ev := range events {
		fence := s.fence(ev)
		if _, is := seen[fence]; !is {
			seen[fence] = struct{}{}
			touched = append(touched, fence)
		}
	}
	to := events[len(events)-1].GlobalPosition
	err := f(s.save(touched, to))
	if errors.Is(err, catchup.ErrFenced) {
		s.w.cfg.Observer.fenced(s.name, len(events))
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	var hung *hungError
	if errors.As(err, &hung) && hung.events == nil {
		hung.events = events
	}
	if err != nil {
		return err
	}
	for _, fence := range touched {
		fence.Floor = to
	}
	s.handled.Add(int64(len(events)))
	took := time.Since(began)
	s.w.cfg.Observer.handled(s.name, len(events), took)
	s.log.Debug().Int(keyEvents, len(events)).Int64(keyPosition, to).Float64(keyTookMS, float64(took.Microseconds())/1000).Msg("batch handled")
	return nil
}

func (s *session) save(fences []*catchup.Fence, to int64) catchup.Save {
	save := catchup.Save{Projection: s.name, Instance: s.w.instance, Token: s.token, To: to}
	for _, f := range fences {
		save.Fences = append(save.Fences, *f)
	}
	return save
}

// effects does events one after the other and saves what has been done: at the end of the batch, before a failing event is
// tried again, and when the worker has to stop.
func (s *session) effects(ctx, workCtx context.Context, events []eventstore.Event) error {
	saved := 0
	flush := func(n int) error {
		if n == saved {
			return nil
		}
		err := s.saving(events[saved:n], func(save catchup.Save) error { return s.work.save(workCtx, save) })
		saved = n
		return err
	}
	for i, ev := range events {
		do := func() error {
			return s.work.call(s.leased(workCtx, ev), ev, func(ctx context.Context) error { return s.work.effect.Do(ctx, ev) })
		}
		err := do()
		if err != nil {
			if flushErr := flush(i); flushErr != nil {
				return flushErr
			}
			if workCtx.Err() != nil || isHung(err) {
				return err
			}
			s.failed(events[i:i+1], err)
			s.setState(StateRetrying)
			if err = s.retry(ctx, workCtx, ev, do); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return flush(i + 1)
		}
	}
	return flush(len(events))
}

// retry tries one event again and again, with growing pauses, until it succeeds, the worker has to stop (nil), or it has
// failed too often. Failures that are not the handler's do not count, and end the session if the database is away.
func (s *session) retry(ctx, workCtx context.Context, ev eventstore.Event, try func() error) error {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // Config.Retries decides
	)
	pauses.Reset()
	for failures := 0; ; {
		err := try()
		if err == nil || workCtx.Err() != nil || isHung(err) {
			return err
		}
		pause := time.Millisecond
		switch {
		case isTransient(err):
		case !blamesHandler(workCtx, err) && s.work.effect == nil:
			return err
		default:
			failures++
			s.failed([]eventstore.Event{ev}, err)
			if failures > max(s.w.cfg.Retries, 0) {
				return &StoppedError{Projection: s.name, Position: ev.GlobalPosition, AggregateType: ev.AggregateType,
					AggregateID: ev.AggregateID, Version: ev.AggregateVersion, EventType: ev.Type, Err: err}
			}
			pause = pauses.NextBackOff()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
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
