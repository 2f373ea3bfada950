package projector

import (
	"context"
	"errors"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// sweepInterval is how often it is looked for idle checkpoints that are old, and for unowned partitions.
const sweepInterval = 900 * time.Millisecond

// dueRest is the pause between two goes at parked events. A batch of new events that is ready has its turn in it, so that a long
// queue takes a share of the worker and not all of it.
const dueRest = 5 * time.Millisecond

// dueInterval is how often a session at rest looks whether an operator has asked for a retry, of which it is told by a change of
// the membership as well.
const dueInterval = 10 * time.Second

// session is the time during which one claim is valid, in one incarnation of the database. Everything in it is for the
// projector's goroutine alone.
type session struct {
	*Projector
	process Process
	events  catchup.Log
	token   catchup.Token

	shares  shares
	barrier barrier

	checkpoints *apply.Checkpoints // written by adopt; nil: no partition is owned
	applier     *apply.Applier     // written by adopt; nil: no partition is owned
	rest        catchup.Batch      // what the last round has left of a batch; without events: nothing
	done        int64              // everything owned up to here is handled and saved, or idle and saved some time later
	atEnd       bool               // the last batch that was read was the end of the log
	idled       int64              // the value of done when idle partitions were last saved; -1: never
	idle        idle
	rested      time.Time // before then there is no other go at parked events
	asked       time.Time // when lookForDue was last called
}

// runSession claims partitions and handles their events. It returns nil when ctx is cancelled or when the partitions
// are to be shared anew, and otherwise the error that ended the session.
func (p *Projector) runSession(ctx, workCtx context.Context) error {
	workCtx, end, err := p.trusted(ctx, workCtx)
	if err != nil {
		return nil // ctx is cancelled
	}
	defer end()
	s, err := p.open(ctx)
	switch {
	case err != nil:
	case s.applier == nil:
		err = s.standby(ctx)
	default:
		err = s.run(ctx, workCtx)
	}
	for _, hung := range apply.AllHung(err) { // also if err stops the projection
		s.abandon(ctx, hung)
	}
	if errors.Is(context.Cause(workCtx), apply.ErrLeaseLost) {
		p.cfg.Hooks.Owns(nil)
		return apply.ErrLeaseLost // any other error followed from it
	}
	return err
}

// trusted waits until this process may rely on leases, and returns a context for its handlers, which ends with
// ErrLeaseLost when it no longer may. A static worker always may: no other worker takes its partitions while it is
// frozen or cut off but a twin, and the fence protects against that.
func (p *Projector) trusted(ctx, workCtx context.Context) (_ context.Context, end func(), err error) {
	if p.cfg.Process.static() {
		return workCtx, func() {}, nil
	}
	trust, err := p.cfg.Process.Control.Trust(ctx)
	if err != nil {
		return nil, nil, err
	}
	workCtx, cancel := context.WithCancelCause(workCtx)
	unhook := context.AfterFunc(trust, func() { cancel(apply.ErrLeaseLost) })
	return workCtx, func() { unhook(); cancel(nil) }, nil
}

// open begins a session: it reads the log, the incarnation and the shares, resets the projection if that is requested,
// and claims.
func (p *Projector) open(ctx context.Context) (*session, error) {
	process := p.cfg.Process
	found, err := process.Census.opened.answer(ctx, p.cfg.Name)
	if err != nil {
		return nil, err
	}
	if found.log.Events != process.Log.Events || found.log.Sequence != process.Log.Sequence {
		return nil, ErrReplaced
	}
	process.Control.Seen(string(found.token))
	if !found.kept.Exists {
		if p.refused != nil {
			return nil, p.refused
		}
		return nil, found.kept.Gone(p.cfg.Name)
	}
	if err := p.settle(ctx, found.kept.Partitions); err != nil {
		return nil, err
	}
	if err := p.untold.TakeBack(ctx, process.Pool, p.cfg.Name); err != nil { // also where others own the partitions by now
		return nil, err
	}
	s := &session{Projector: p, process: process, events: found.log, token: found.token, barrier: newBarrier(), idled: -1, idle: newIdle()}
	s.shares.changed = process.Control.Changed()
	standing, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if standing.Reset {
		if err := p.startOver(ctx); err != nil {
			return nil, err
		}
	}
	if extra := without(standing.Owned(process.Instance), s.shares.wanted); len(extra) > 0 {
		if err := partition.Release(ctx, process.Pool, p.cfg.Name, process.Instance, extra); err != nil {
			return nil, err
		}
	}
	if _, dead := standing.Free(s.shares.wanted, process.Instance); dead {
		p.terminateDead(ctx)
	}
	return s, s.claim(ctx)
}

// claim claims those of the wanted partitions that may be taken.
func (s *session) claim(ctx context.Context) error {
	if s.Resting() {
		s.once.Do(func() { close(s.started) })
		return nil
	}
	claim := partition.Claim{
		Projection: s.cfg.Name, Instance: s.process.Instance, Token: string(s.token),
		Partitions: s.shares.wanted, Of: s.total(), Version: s.cfg.Role.Version, FromTheLiving: s.process.static() && !s.claimed,
	}
	leases, err := claim.Claim(ctx, s.process.Pool)
	if err != nil {
		return err
	}
	s.versions.Forget()
	s.claimed = true
	if !s.takenUp && !s.shares.paused {
		if s.shares.stopped {
			if err := db.Exec(ctx, s.process.Pool, sqlStarted.For(s.process.Pool), s.cfg.Name); err != nil {
				return err
			}
		}
		s.takenUp = true
	}
	if err := s.adopt(ctx, leases); err != nil {
		return err
	}
	if s.applier != nil || len(s.shares.wanted) == 0 { // or paused
		s.once.Do(func() { close(s.started) })
	}
	return nil
}

// adopt opens the Applier for leases, from whose checkpoints the session goes on.
func (s *session) adopt(ctx context.Context, leases []partition.Lease) (err error) {
	owned := make([]int, len(leases))
	for i, l := range leases {
		owned[i] = l.Partition
	}
	s.cfg.Hooks.Owns(owned)
	// Others may be claiming at the same time, unless there were none; who has come since is a change of the membership.
	whole := s.shares.alone && !s.process.static() && len(leases) == s.total()
	s.shares.balanced = s.process.static() || whole
	if len(leases) == 0 {
		return nil
	}
	checkpoints := apply.NewCheckpoints(s.process.Pool.Schema, s.cfg.Name, s.process.Instance, s.token, leases, s.total())
	left, err := s.process.Census.sound(ctx, claimed{
		projection: s.cfg.Name, log: s.events, token: s.token, marks: marks(leases),
		lowest: checkpoints.Lowest(), highest: checkpoints.Highest(),
	})
	if err != nil {
		return err
	}
	s.applier, err = apply.Open(ctx, apply.Config{
		Pool: s.process.Pool, Handler: s.cfg.Handler, Types: s.cfg.Types, Concurrency: s.cfg.Concurrency, Presence: s.process.Presence,
		Breaker: s.breaker, Pace: s.pace, Versions: s.versions, Untried: &s.untried, Untold: &s.untold, Patience: s.cfg.Patience, Joint: s.process.Joint,
		Handled: &s.handled, NothingLeft: !left, Hooks: s.cfg.Hooks.Hooks, Log: s.log,
	}, checkpoints, leases)
	s.checkpoints, s.done = checkpoints, checkpoints.Lowest()
	s.cfg.Asked.Forget()
	checkpoints.Asked(s.cfg.Asked)
	if whole && err == nil {
		s.planned.Store(true)
	}
	return err
}

// marks returns the events that the checkpoints of leases stand at, as far as they are known.
func marks(leases []partition.Lease) (marks []catchup.Mark) {
	for _, l := range leases {
		if l.Event != "" {
			marks = append(marks, catchup.Mark{Position: l.Floor, Event: l.Event})
		}
	}
	return marks
}

// total returns the number of the projection's partitions, as last seen.
func (s *session) total() int { return int(s.partitions.Load()) }

// run handles events until loop returns. It owns the goroutine of the Feed, and waits for it before it returns.
func (s *session) run(ctx, workCtx context.Context) error {
	owned := s.checkpoints.Owned()
	s.log.Info().Int(keyPartitions, len(owned)).Int64(keyPosition, s.done).Msg("partitions claimed")
	s.progress.unknown(s.owns())
	s.showWaiting()
	s.shares.moved = time.Now()
	feed := s.process.Source.Feed(catchup.FeedConfig{
		Log: s.events, Token: s.token, Slots: catchup.SlotsOf(owned, s.total()), Types: s.cfg.Types, After: s.done,
		MostBatch: s.pace.Widen(len(owned)),
	})
	s.feed.Store(feed)
	feedCtx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); feed.Run(feedCtx) }()
	defer func() { cancel(); <-ended }()
	err := s.loop(ctx, workCtx, feed)
	if err == nil && ctx.Err() != nil {
		err = s.advanceIdle(workCtx)
	}
	return err
}

// loop handles batches, sweeps, retries parked events and follows the membership, one after the other on this
// goroutine, until ctx is cancelled, partitions have to move, or something fails. No part takes much longer than
// Handler.BatchTime, or one call of a handler, before the others get their turn.
func (s *session) loop(ctx, workCtx context.Context, feed *catchup.Feed) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		s.pulse.Working()
		s.settleReplies()
		in, err := s.inputs(workCtx, feed, tick)
		if err != nil {
			return err
		}
		what, b := s.next(ctx, workCtx, in)
		switch what {
		case stopped:
			return nil
		case untrusted:
			return context.Cause(workCtx)
		case feedEnded:
			if ctx.Err() != nil {
				return nil
			}
			return feed.Err()
		case batchLeft, batchRead, trialDue, retryDue:
			if err := s.work(ctx, workCtx, what, b); err != nil || ctx.Err() != nil {
				return err // after a stop the batch may be unfinished, and nothing may be handled beyond it
			}
			continue
		case pauseDue:
			if err := s.advancePaused(workCtx); err != nil {
				return err
			}
			continue
		case asked:
			s.settleReplies()
			if err := s.reply(workCtx); err != nil {
				return err
			}
			continue
		case sharesChanged: // or an operator has asked for a retry
			s.lookForDue()
		case sweepDue:
			if err := s.sweep(workCtx); err != nil {
				return err
			}
			if s.shares.membershipQuiet(s.process.Control.Trusted(), time.Now()) {
				continue
			}
		}
		s.shares.noteLook(what == sharesChanged)
		s.pulse.Working()
		again, err := s.rebalance(ctx, workCtx)
		if ctx.Err() != nil {
			return nil // which may be why it failed
		}
		if err != nil || again {
			return err
		}
	}
}

// inputs returns what the loop waits for. At a barrier nothing is handled.
func (s *session) inputs(workCtx context.Context, feed *catchup.Feed, tick *time.Ticker) (inputs, error) {
	in := s.whileWaiting(inputs{batches: feed.C, rest: len(s.rest.Events) > 0, tick: tick.C, due: s.due(), pause: s.idle.pause.C, asked: s.cfg.Asked.C()})
	if !s.barrier.atBarrier(s.done) {
		return in, nil
	}
	in.batches, in.rest, in.trial = nil, false, nil
	return in, s.advanceIdle(workCtx)
}

// sweep does what may have become due without a word from anybody.
func (s *session) sweep(workCtx context.Context) error {
	if s.process.Control.IsAwake() || time.Since(s.asked) > dueInterval {
		s.lookForDue()
	}
	return s.advanceOld(workCtx)
}

// work does what is due for a handler.
func (s *session) work(ctx, workCtx context.Context, what occasion, b catchup.Batch) error {
	s.pulse.Yielding() // to the handler, which has limits of its own
	if what == trialDue || len(b.Events) > 0 {
		s.process.Control.Stir()
	}
	s.inHand.Store(true)
	defer s.inHand.Store(false)
	switch what {
	case batchLeft:
		return s.handleRest(ctx, workCtx, b)
	case trialDue:
		return s.try(ctx, workCtx)
	case retryDue:
		defer func() { s.rested = time.Now().Add(dueRest) }()
		return s.applier.RetryParked(ctx, workCtx)
	default:
		return s.handle(ctx, workCtx, b)
	}
}

// lookForDue makes a go at the parked events due, because an operator may have asked for a retry.
func (s *session) lookForDue() {
	s.asked = time.Now()
	s.applier.LookForDue()
}

// due returns a channel that receives when a parked event is to be tried; nil: none is, as far as is known, or the breaker is open,
// or a barrier is to be lifted first, at which partitions may be joined at any moment.
func (s *session) due() <-chan time.Time {
	at, any := s.applier.NextDue()
	if !any || s.breaker.Open() || s.barrier.atBarrier(s.done) {
		return nil
	}
	wait := max(time.Until(at), time.Until(s.rested))
	if wait <= 0 {
		return overdue // at once, so that it has its turn beside batches that are ready
	}
	return time.After(wait)
}

// overdue is a channel that has always something to receive.
var overdue = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// handle applies what is to be handled of one batch.
func (s *session) handle(ctx, workCtx context.Context, b catchup.Batch) error {
	b = s.barrier.clip(b)
	b.Events, s.atEnd = s.applier.Fresh(b), !b.More
	return s.apply(ctx, workCtx, b)
}

// handleRest goes on with what the last round has left of a batch.
func (s *session) handleRest(ctx, workCtx context.Context, b catchup.Batch) error {
	return s.apply(ctx, workCtx, s.barrier.clip(b)) // the barrier may have come since
}

// apply applies the events of b, keeps what is left of them for the next round, and shows how far the projection has come.
func (s *session) apply(ctx, workCtx context.Context, b catchup.Batch) (err error) {
	s.trouble.halted("")
	if len(b.Events) > 0 {
		s.process.Source.NoteUse()
	}
	if b.Events, err = s.applier.Apply(ctx, workCtx, s.shares.changed, b.Events); err != nil {
		return err
	}
	done, left := b.To, len(b.Events) > 0
	if left {
		done = b.Events[0].GlobalPosition - 1
	}
	if done != s.done {
		s.idle.moved()
	}
	s.rest, s.done = b, done
	s.progress.advance(s.done)
	if s.cfg.Asked.Replying() {
		if err := s.reply(workCtx); err != nil {
			return err
		}
	}
	switch behind := b.Head - s.done; {
	case s.breaker.Open():
	case !b.More && !left:
		s.setState(Live)
	case behind > int64(4*s.cfg.BatchSize), s.State() == Retrying, s.State() == Waiting, left && s.State() != Live:
		s.setState(CatchingUp)
	}
	return nil
}
