package catchup

import (
	"context"
	"errors"

	"github.com/rouse-es/rouse/internal/pulse"
)

// FeedConfig configures a Feed.
type FeedConfig struct {
	// Log and Token identify the source: one incarnation of one log.
	Log   Log
	Token Token

	// Slots are the slots whose events the Feed brings.
	Slots SlotSet

	// Types are the types of events that the caller wants. While the Feed is far behind, the server leaves out all
	// others; at the end of the log, which is read for all Feeds, they come too. Batch.Partial reports which of the two
	// a Batch is.
	Types Types

	// After is the position behind which the Feed begins.
	After int64

	// MostBatch bounds the batches of the Feed while it is far behind and more events wait, where that is more than the Source's
	// MostBatch. One read brings fewer of those that are larger, so it holds no more events. 0: that of the Source.
	MostBatch int
}

// Feed brings one caller its events in order, one Batch ahead of it. While it is far behind it reads by itself; once it
// has read everything it goes on with the buffer of the Source. Catching up and being live are the same for the caller,
// which cannot see which of the two has read a Batch.
//
// Far behind, one read brings several batches, which grow while more events wait. The caller gets each as soon as it is full,
// and the server reads on while it is handled. A read never waits for the caller: what it brings has room, and the next one
// begins once the caller has taken all of it. So no snapshot is open for longer than reading takes, or over more than
// flowBatches saves; one that was open over 64 kept what they had updated from being cleaned up, and they took more than
// twice as long.
type Feed struct {
	// C has the batches, each beginning where the one before ended. Run sends them and closes C when it ends; the
	// caller waits for both.
	C <-chan Batch

	source *Source
	cfg    FeedConfig
	out    chan Batch
	err    error // written by Run before it closes C, read by Err after that
	reader *Reader

	loop   *loop    // the loop that this Feed has entered and must leave
	place  *place   // its place in the buffer of that loop
	joined bool     // it goes on with the buffer; written by goOn
	at     int64    // the end of the last batch
	size   int      // the most events of the next batch that it reads alone
	flow   *flowing // the read that is handing out batches; nil: none is

	pulse pulse.Pulse
}

// Feed returns a Feed for cfg, which does nothing before its Run is called.
func (s *Source) Feed(cfg FeedConfig) *Feed {
	out := make(chan Batch)
	f := &Feed{C: out, out: out, source: s, cfg: cfg, at: cfg.After, size: s.cfg.BatchSize}
	f.reader = NewReader(s.cfg.Pool, cfg.Log, cfg.Token, cfg.Slots, cfg.After)
	f.reader.patience = &s.patience
	f.reader.Only(cfg.Types)
	return f
}

// Err returns the error that ended Run. Call it after C is closed.
func (f *Feed) Err() error { return f.err }

// Run reads until ctx is cancelled or a read fails, and then closes C. Call it once, on a goroutine that the caller
// waits for.
func (f *Feed) Run(ctx context.Context) {
	defer close(f.out)
	defer f.pulse.Yielding() // for good
	f.enter()
	defer func() { f.leave() }()
	readCtx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); f.flow.wait() }()
	f.source.alone.add(1)
	defer func() { f.sharing().add(-1) }()
	if f.place.begin(f.at) {
		f.goOn(true)
	}
	for {
		b, err := f.next(readCtx)
		if err != nil {
			f.err = err
			return
		}
		if err := f.offer(ctx, b); err != nil {
			f.err = err
			return
		}
	}
}

// Stuck reports whether the Feed has not delivered events up to head, which the Source has read, for 5 seconds, or
// whether one of its reads is overdue.
func (f *Feed) Stuck(head int64) bool {
	_, tooLong := f.pulse.Asleep(head)
	return tooLong || f.pulse.Late()
}

// enter enters the loop of the Source and its buffer.
func (f *Feed) enter() {
	f.loop = f.source.enter(f.cfg.Log, f.cfg.Token)
	f.place = f.loop.buffer.enter(f.cfg.Slots)
}

// leave leaves both, in the order in which the loop may end.
func (f *Feed) leave() {
	f.place.leave()
	f.source.leave(f.loop)
}

// sharing returns those with which the feed shares the bytes of its batches.
func (f *Feed) sharing() *share {
	if f.joined {
		return &f.source.joined
	}
	return &f.source.alone
}

// goOn goes on with the buffer, or alone.
func (f *Feed) goOn(joined bool) {
	f.sharing().add(-1)
	f.joined = joined
	f.sharing().add(1)
}

// next returns the next batch, and waits for it where there is none.
func (f *Feed) next(ctx context.Context) (Batch, error) {
	for f.joined {
		b, ok, err := f.place.next(f.source.cfg.most(), f.source.joined.each())
		switch {
		case errors.Is(err, errBehind):
			f.goOn(false)
			f.reader.Turn(f.at, f.cfg.Slots)
			continue
		case err != nil:
			return b, err
		case ok:
			f.at = b.To
			return b, nil
		}
		f.pulse.Waiting(f.at)
		select {
		case <-f.place.C:
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
	return f.readAlone(ctx)
}

// readAlone returns the next batch of a read without the loop. With the last batch of a read it joins the buffer if it has come to
// the buffer's position.
func (f *Feed) readAlone(ctx context.Context) (Batch, error) {
	f.pulse.Reading(f.reader.limit())
	if f.flow == nil {
		f.reader.SetBytes(f.source.alone.each())
		f.flow = f.begin(ctx)
	}
	b, last, err := f.flow.next()
	if err != nil {
		return b, err
	}
	f.at = b.To
	if !last {
		return b, nil
	}
	f.flow = nil
	return b, f.ended(b)
}

// ended notes that b is the last batch of a read.
func (f *Feed) ended(b Batch) error {
	f.size = f.source.cfg.grown(f.size, f.cfg.MostBatch, b)
	if len(b.Events) > 0 || b.More {
		f.source.cfg.Hooks.Stirred()
	}
	f.source.observe(b, false)
	if f.loop.buffer.failed() { // while this feed did not need it
		f.leave()
		f.enter()
	}
	joined, err := f.place.join(b.To, b.More)
	f.goOn(joined)
	return err
}
