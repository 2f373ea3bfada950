package apply

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// budget bounds one round of handling, the time between two looks at everything else that a session has to do. It ends
// after Handler.BatchTime, or sooner if the worker has to stop, may have to give partitions up, or has to wait. Whoever handles asks
// it between two events, and leaves the rest to the next round. It does not change, so all lanes of a round use one.
type budget struct {
	stop  <-chan struct{} // closed when the worker has to stop
	leave <-chan struct{} // closed when partitions may have to be given up; nil: never
	until time.Time       // zero: no limit

	breaker *Breaker // once it is open, nothing more is tried; nil: there is none
}

// newBudget returns the budget of a round that begins now. The end of ctx is a stop; limit 0: no limit.
func newBudget(ctx context.Context, leave <-chan struct{}, limit time.Duration) *budget {
	b := &budget{stop: ctx.Done(), leave: leave}
	if limit > 0 {
		b.until = time.Now().Add(limit)
	}
	return b
}

// over reports whether the round has to end. A nil budget is never over.
func (b *budget) over() bool {
	return b != nil && (b.called() || !b.until.IsZero() && !time.Now().Before(b.until))
}

// ends returns a channel that is sent to once when the time of the round is over, nil if it has none, and what frees it.
func (b *budget) ends() (due <-chan time.Time, stop func()) {
	if b == nil || b.until.IsZero() {
		return nil, func() {}
	}
	timer := time.NewTimer(time.Until(b.until))
	return timer.C, func() { timer.Stop() }
}

// called reports whether the round has to end for another reason than its time.
func (b *budget) called() bool {
	return b != nil && (isClosed(b.stop) || isClosed(b.leave) || b.breaker != nil && !b.breaker.mayTry())
}

// isClosed reports whether c, on which nothing is sent, is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tooLarge reports whether a batch of the batch form ran out of the handler's time as a whole, and says so: no event is to
// blame, and the pace has made the next one smaller.
func (a *Applier) tooLarge(events []eventstore.Event, err error) bool {
	if a.run.handler.ApplyBatch == nil || a.pace == nil || len(events) == 1 || !ranOut(err) {
		return false
	}
	a.hooks.Failed(len(events), err)
	a.log.Warn().Err(err).Int(keyEvents, len(events)).Msg("a batch has run out of the handler's time, going on with smaller ones")
	return true
}
