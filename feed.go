package rouse

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/listener"
)

// feed reads ahead of one projection: while a batch is handled, the next one is read. Catching up and being live are the
// same loop: read until there is nothing more, then wait for a wake.
type feed struct {
	w      *Worker
	reader *catchup.Reader
	wake   *listener.Wake // nil without a listener
	out    chan catchup.Batch
	err    error // why the feed ended; good once out is closed

	schedule *catchup.Schedule
}

func (w *Worker) newFeed(reader *catchup.Reader) *feed {
	return &feed{w: w, reader: reader, out: make(chan catchup.Batch), schedule: catchup.NewSchedule()}
}

// run reads until ctx is cancelled or a read fails.
func (f *feed) run(ctx context.Context) {
	defer close(f.out)
	if f.w.listener != nil {
		wake, unsubscribe := f.w.listener.Subscribe()
		defer unsubscribe()
		f.wake = wake
	}
	woken := false
	for {
		b, err := f.reader.Next(ctx, f.w.cfg.BatchSize)
		if err != nil {
			f.err = err
			return
		}
		f.w.observe(b, woken)
		select {
		case f.out <- b:
		case <-ctx.Done():
			return
		}
		if len(b.Events) > 0 {
			f.schedule.Reset()
		}
		if b.More {
			continue
		}
		if woken = f.wait(ctx, b); ctx.Err() != nil {
			return
		}
	}
}

// observe takes note of what a read has seen besides events.
func (w *Worker) observe(b catchup.Batch, woken bool) {
	if w.listener != nil {
		w.listener.Observe(b.Head, b.Holders, woken)
	}
	if w.noPush.Swap(!b.Push) == b.Push && !b.Push {
		w.log.Warn().Msg("the trigger rouse_append_after on events is missing or not enabled: nothing wakes the worker, it polls" +
			" (run: alter table events enable always trigger rouse_append_after)")
	}
}

// wait returns at the next wake, or when it is time to look without one; it tells which.
func (f *feed) wait(ctx context.Context, b catchup.Batch) (woken bool) {
	timer := time.NewTimer(f.pause(b))
	defer timer.Stop()
	var wakes <-chan struct{}
	if f.wake != nil {
		wakes = f.wake.C
	}
	select {
	case <-wakes:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// pause is how long to wait for a wake. It is short while an open append holds back what is behind it, which nobody will
// notify if it rolls back, and until everything that was open when the listener armed is settled, because that may not
// notify at all. Only after that is a reader asleep.
func (f *feed) pause(b catchup.Batch) time.Duration {
	var state listener.State
	if f.w.listener != nil {
		state = f.w.listener.State()
	}
	armed := state.Mode == listener.Quiet
	if b.Blocked || armed && max(b.Settled, b.To) < state.ArmedHead {
		return f.schedule.Settle(time.Now())
	}
	return f.schedule.Poll(armed && state.Proven && b.Push)
}
