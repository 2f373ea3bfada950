package rouse

import (
	"context"
	"errors"

	"github.com/rouse-es/rouse/catchup"
)

// feed brings one session its events in order, one batch ahead of the handler. While the session is far behind, the feed reads
// alone, and only what the handler wants; once it has read everything it goes on with the process's tail. Catching up and being
// live are the same for the session, which cannot tell who has read a batch.
type feed struct {
	w      *Worker
	log    catchup.Log
	token  catchup.Token
	slots  catchup.SlotSet
	out    chan catchup.Batch
	err    error // why the feed ended; good once out is closed
	reader *catchup.Reader

	tail   *tail
	member *catchup.Member
	joined bool  // it goes on with the tail
	at     int64 // how far it has come

	pulse pulse
}

// newFeed makes a feed for the session, which run runs.
func (s *session) newFeed() *feed {
	slots := catchup.SlotsOf(s.mine(), s.partitions)
	f := &feed{w: s.w, log: s.events, token: s.token, slots: slots, out: make(chan catchup.Batch), at: s.done}
	f.reader = catchup.NewReader(s.w.pool, s.events, s.token, slots, s.done)
	f.reader.Only(s.work.scope.types())
	return f
}

// run reads until ctx is cancelled or a read fails.
func (f *feed) run(ctx context.Context) {
	defer close(f.out)
	defer f.pulse.yielding() // for good
	f.enter()
	defer func() { f.leave() }()
	for {
		b, err := f.next(ctx)
		if err != nil {
			f.err = err
			return
		}
		f.pulse.yielding()
		select {
		case f.out <- b:
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) enter() {
	f.tail = f.w.enter(f.log, f.token)
	f.member = f.tail.Enter(f.slots)
}

func (f *feed) leave() {
	f.member.Leave()
	f.tail.leave()
}

// next waits for the next batch.
func (f *feed) next(ctx context.Context) (catchup.Batch, error) {
	for f.joined {
		b, ok, err := f.member.Next(f.w.cfg.BatchSize)
		switch {
		case errors.Is(err, catchup.ErrBehind):
			f.joined = false
			f.reader.Turn(f.at, f.slots)
			continue
		case err != nil:
			return b, err
		case ok:
			f.at = b.To
			return b, nil
		}
		f.pulse.waiting(f.at)
		select {
		case <-f.member.C:
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
	return f.alone(ctx)
}

// alone reads a batch without the tail, and joins the tail if it is there.
func (f *feed) alone(ctx context.Context) (catchup.Batch, error) {
	f.pulse.reading()
	b, err := f.reader.Next(ctx, f.w.cfg.BatchSize)
	if err != nil {
		return b, err
	}
	f.at = b.To
	f.w.observe(b, false)
	if f.tail.Failed() { // while this feed did not need it
		f.leave()
		f.enter()
	}
	f.joined, err = f.member.Join(b.To, b.More)
	return b, err
}
