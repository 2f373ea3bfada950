package projector

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

// A partition without events has nothing to save; its checkpoint follows the log so that others see that nothing waits, and that a
// successor need not read what is known. Each such save leaves a dead row behind. So while events come, a checkpoint is moved on only
// when it is old; and when none comes any more, all of them are.
const (
	// pauseAfter is how long nothing must have come for all idle checkpoints to be moved on. With the half second that a worker
	// without events of its own may be late in a torrent, it is within 2 s of the last event.
	pauseAfter = time.Second

	// pauseRows is how many idle checkpoints one pauseAfter pays for. Where there are more, the next pause is longer by that: events that
	// come every two seconds would else have all of 1,024 checkpoints moved on behind each of them.
	pauseRows = 64

	// oldAfter and oldBehind are how long a checkpoint may have stood, and how many positions it may be behind, while events come.
	// What a crash has read again is this and a sweep. Reports look 10,000 positions back for events of a partition, which is more.
	oldAfter  = 10 * time.Second
	oldBehind = 5000

	// oldAtMost is how long one may have stood while there are so many dead rows of checkpoints that it was put off. From manyDead on
	// the time rises with them.
	oldAtMost = time.Minute
	manyDead  = 20_000
)

// idle says when the checkpoints of partitions without events are moved on. It is for one goroutine.
type idle struct {
	pause *time.Timer   // fires when nothing has come for long enough
	paid  time.Time     // when the checkpoints are paid for that the last pause has moved on; zero: they are
	after time.Duration // how long a checkpoint may stand while events come; written by noteDead
}

// newIdle returns an idle whose pause has begun.
func newIdle() idle { return idle{pause: time.NewTimer(pauseAfter), after: oldAfter} }

// moved notes that something has come.
func (i *idle) moved() { i.pause.Reset(i.pauses()) }

// pauses returns for how long nothing must come from now on for all idle checkpoints to be moved on.
func (i *idle) pauses() time.Duration { return max(pauseAfter, time.Until(i.paid)) }

// noteSaved notes that a pause has had so many checkpoints moved on.
func (i *idle) noteSaved(rows int) {
	i.paid = time.Now().Add(time.Duration(rows) * pauseAfter / pauseRows)
}

// soon makes the next pause a short one.
func (i *idle) soon() {
	i.paid = time.Time{}
	i.moved()
}

// noteDead notes how many dead rows of checkpoints there are.
func (i *idle) noteDead(rows int64) {
	i.after = min(oldAfter*time.Duration(max(1, min(rows, 1<<32)/manyDead)), oldAtMost)
}

// advanceOld moves on the checkpoints of partitions that had no events for long.
func (s *session) advanceOld(ctx context.Context) error {
	since, low := time.Now().Add(-s.idle.after), s.done-oldBehind
	if s.done == s.idled || !s.checkpoints.Old(s.done, since, low) {
		return nil
	}
	to, err := s.idlePosition(ctx)
	if err != nil {
		return err
	}
	if err := s.applier.AdvanceOld(ctx, to, since, low); err != nil {
		return err
	}
	return s.lookForDead(ctx)
}

// lookForDead reads how many dead rows of checkpoints there are.
func (s *session) lookForDead(ctx context.Context) error {
	rows, err := s.process.Census.dead.answer(ctx, struct{}{})
	if err != nil {
		return err
	}
	s.idle.noteDead(rows)
	return nil
}

// advanceIdle moves the checkpoints of partitions that had no events on. Nothing below done is unfinished, because the
// goroutine that handles events is the one that calls this.
func (s *session) advanceIdle(ctx context.Context) error {
	if s.done == s.idled {
		return nil
	}
	to, err := s.idlePosition(ctx)
	if err != nil {
		return err
	}
	if err := s.applier.AdvanceIdle(ctx, to); err != nil {
		return err
	}
	s.idled = s.done
	return nil
}

// advancePaused is advanceIdle in a pause.
func (s *session) advancePaused(ctx context.Context) error {
	if s.done == s.idled {
		return nil
	}
	rows := s.checkpoints.Behind(s.done)
	if err := s.advanceIdle(ctx); err != nil {
		return err
	}
	s.idle.noteSaved(rows)
	return nil
}

// idlePosition returns the position of checkpoints of partitions that had no events: that of the last visible event. At
// a barrier it is the barrier, which is a checkpoint already.
func (s *session) idlePosition(ctx context.Context) (catchup.Mark, error) {
	if s.done == s.barrier.at {
		return catchup.Mark{Position: s.done}, nil
	}
	return s.process.Census.lastUpTo(ctx, s.done)
}
