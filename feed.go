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
	calm     bool          // the last read found nothing open
	took     time.Duration // the last full read
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
		b, err := f.next(ctx, woken)
		if err != nil {
			f.err = err
			return
		}
		select {
		case f.out <- b:
		case <-ctx.Done():
			return
		}
		if len(b.Events) > 0 {
			f.schedule.Reset()
		}
		if b.More {
			f.yield(ctx, b)
			continue
		}
		if woken = f.wait(ctx, b); ctx.Err() != nil {
			return
		}
	}
}

// next reads on. After a wake in a calm log it glances first: what was just appended is handed out before the full look, which
// follows at once.
func (f *feed) next(ctx context.Context, woken bool) (catchup.Batch, error) {
	if woken && f.calm && f.w.listener.State().Mode == listener.Quiet {
		f.calm = false
		b, ok, err := f.reader.Glance(ctx, f.w.cfg.BatchSize)
		if ok || err != nil {
			return b, err
		}
	}
	began := time.Now()
	b, err := f.reader.Next(ctx, f.w.cfg.BatchSize)
	if err != nil {
		return b, err
	}
	f.took = time.Since(began)
	f.w.observe(b, woken)
	f.calm = !b.More && b.To >= b.Head
	return b, nil
}

// glancePause is what a full look waits after a glance, so as not to compete with the handler for what the glance has found.
const glancePause = 2 * time.Millisecond

// yield lets the handler go first after a glance, unless there is another wake.
func (f *feed) yield(ctx context.Context, b catchup.Batch) {
	if !b.Glanced {
		return
	}
	timer := time.NewTimer(glancePause)
	defer timer.Stop()
	select {
	case <-f.wake.C:
	case <-timer.C:
	case <-ctx.Done():
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

// In a torrent there is something to read at any time, and every read takes processor time from the writers. So a reader rests
// for restShare times as long as its last read took, at most maxRest: it takes a ninth of one processor where there is enough of
// it, and makes way where writers use it all, because then a read takes longer. With 3 and 20 ms, 64 writers on two processors
// kept 0.82 of their rate.
const (
	restShare = 8
	maxRest   = 30 * time.Millisecond
)

func (f *feed) rest(ctx context.Context) {
	if f.w.listener == nil || f.w.listener.State().Mode != listener.Torrent {
		return
	}
	select {
	case <-time.After(min(restShare*f.took, maxRest)):
	case <-ctx.Done():
	}
}

// wait returns at the next wake, or when it is time to look without one; it tells which.
func (f *feed) wait(ctx context.Context, b catchup.Batch) (woken bool) {
	f.rest(ctx)
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
