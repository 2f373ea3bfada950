package projector

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

// occasion is what a session's loop has to do next.
type occasion int

const (
	stopped       occasion = iota // ctx is cancelled
	untrusted                     // workCtx has ended: the process may no longer rely on its leases, or on the time to stop
	sharesChanged                 // the membership is another one than that which the shares were computed from
	lookDue                       // partitions were not shared as they should be at the last look
	sweepDue
	asked     // somebody waits until something is handled
	pauseDue  // nothing has come for a while
	trialDue  // the breaker is open, and an event may be tried
	retryDue  // parked events may have to be retried
	batchLeft // the last round has left a part of a batch
	batchRead
	feedEnded
)

// inputs are the channels of a session's loop that the session itself does not hold. A nil channel brings nothing.
type inputs struct {
	batches   <-chan catchup.Batch
	rest      bool // session.rest is to be handled
	tick, due <-chan time.Time
	pause     <-chan time.Time
	trial     <-chan time.Time
	asked     <-chan struct{}
}

// next waits for something to do, and returns it with its batch. A select takes any of the channels that are ready, and
// input is ready most of the time. So next looks for everything else first: whoever waits for partitions, or for the end
// of this worker, waits for one round at most, however much is read ahead.
func (s *session) next(ctx, workCtx context.Context, in inputs) (occasion, catchup.Batch) {
	look := s.shares.nextLook()
	switch {
	case ready(ctx.Done()):
		return stopped, catchup.Batch{}
	case ready(workCtx.Done()):
		return untrusted, catchup.Batch{}
	case ready(s.shares.changed):
		return sharesChanged, catchup.Batch{}
	case ready(look):
		return lookDue, catchup.Batch{}
	case ready(in.tick):
		return sweepDue, catchup.Batch{}
	case ready(in.pause):
		return pauseDue, catchup.Batch{}
	case ready(in.asked):
		return asked, catchup.Batch{}
	case ready(in.trial):
		return trialDue, catchup.Batch{}
	case ready(in.due):
		return retryDue, catchup.Batch{}
	case in.rest:
		return batchLeft, s.rest
	}
	s.pulse.Resting()
	select {
	case <-ctx.Done():
		return stopped, catchup.Batch{}
	case <-workCtx.Done():
		return untrusted, catchup.Batch{}
	case <-s.shares.changed:
		return sharesChanged, catchup.Batch{}
	case <-look:
		return lookDue, catchup.Batch{}
	case <-in.tick:
		return sweepDue, catchup.Batch{}
	case <-in.pause:
		return pauseDue, catchup.Batch{}
	case <-in.asked:
		return asked, catchup.Batch{}
	case <-in.trial:
		return trialDue, catchup.Batch{}
	case <-in.due:
		return retryDue, catchup.Batch{}
	case b, open := <-in.batches:
		if !open {
			return feedEnded, b
		}
		return batchRead, b
	}
}

// ready reports whether c is closed or has something, which it takes.
func ready[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
