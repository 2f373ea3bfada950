package projector

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/internal/apply"
)

// newBreaker returns the breaker of the projection in this process.
func (p *Projector) newBreaker() *apply.Breaker {
	return apply.NewBreaker(apply.BreakerConfig{
		Pauses: p.cfg.Pauses, InPlace: p.cfg.Handler.OnFailure == apply.Stop, Log: p.log, Changed: p.showWaiting,
	})
}

// showWaiting shows that the projection waits, and for what. Once it no longer does, what is handled next changes the state.
func (p *Projector) showWaiting() {
	if w, open := p.breaker.Waiting(); open {
		p.inTrouble(Waiting, "waiting for "+w.For, nil)
	}
}

// Waiting describes for what the projection waits; is: it does, and owns partitions.
func (p *Projector) Waiting() (w apply.Waiting, is bool) {
	w, open := p.breaker.Waiting()
	return w, open && p.State() == Waiting
}

// whileWaiting returns in without what an open breaker holds up, and with the next trial. Before the first batch is read nobody
// knows what there is to try.
func (s *session) whileWaiting(in inputs) inputs {
	if !s.breaker.Open() {
		return in
	}
	if in.rest || s.atEnd {
		in.trial = time.After(s.breaker.TrialIn())
	}
	if in.rest {
		in.batches = nil
	}
	in.rest = false
	return in
}

// try makes a trial, and goes on with the batch in hand. As long as the breaker is open that handles nothing.
func (s *session) try(ctx, workCtx context.Context) error {
	b := s.barrier.clip(s.rest)
	if err := s.applier.Trial(ctx, workCtx, s.shares.changed, b.Events); err != nil || ctx.Err() != nil {
		return err
	}
	if !s.breaker.Open() {
		s.applier.LookForDue() // what was set aside meanwhile
	}
	switch {
	case len(s.rest.Events) > 0:
		b.Events = s.applier.Unsaved(b.Events)
		return s.apply(ctx, workCtx, b)
	case s.breaker.Open():
	case s.atEnd:
		s.setState(Live)
	default:
		s.setState(CatchingUp)
	}
	return nil
}
