package catchup

import (
	"context"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	// flowBatches is how many batches one read hands out while it goes on, and so over how many saves its snapshot may be open.
	flowBatches = 4

	// batchGrowth is how many times larger the batches of a read are than those of the one before, while more events wait.
	batchGrowth = 4
)

// flow says how a read hands its events out while it goes on. The zero value: all of them at its end.
type flow struct {
	size    int                             // the most events at a time
	batches int                             // how many times, its end included
	hand    func(events []eventstore.Event) // gets all but the last of them
}

// Flow is Next for up to batches batches of up to size events each, by one read. It calls hand with each of them as soon as it is
// full, while the server goes on, and returns the last one. The cursor moves with each. hand must not wait, because the read keeps
// what was updated meanwhile from being cleaned up. Beyond the horizon that an earlier read has seen it is Next, for what follows
// there may change what is to be handed out.
func (r *Reader) Flow(ctx context.Context, size, batches int, hand func(Batch)) (Batch, error) {
	if r.after >= r.settled {
		return r.Next(ctx, size)
	}
	return r.next(ctx, size*batches, flow{size: size, batches: batches, hand: func(events []eventstore.Event) {
		b := Batch{
			Events: events, From: r.after, To: events[len(events)-1].GlobalPosition, Head: r.head, Settled: r.settled, Holders: -1,
			More: true, Partial: !r.only.all(), Push: r.push,
		}
		r.after = b.To
		hand(b)
	}})
}

// counted returns f with found noting what is handed out by it, if that may be: head, of the same read, has to be as it should.
func (r *Reader) counted(f flow, found *reading, head *int64) (flow, error) {
	if head == nil {
		return f, errNoHead
	}
	if err := r.checkBehind(*head); err != nil {
		return f, err
	}
	hand := f.hand
	f.hand = func(events []eventstore.Event) {
		found.handed += len(events)
		r.head = *head
		hand(events)
	}
	return f, nil
}

// most returns the most events of a batch.
func (c *SourceConfig) most() int { return max(c.BatchSize, c.MostBatch) }

// grown returns the size of the batches behind a read with batches of up to size, which has ended with last: larger while events
// wait that are settled, up to most if that is more than all feeds may have, and the first size once none do.
func (c *SourceConfig) grown(size, most int, last Batch) int {
	if last.To >= last.Settled {
		return c.BatchSize
	}
	return min(size*batchGrowth, max(c.most(), most))
}

// portion returns the size and the number of the batches of the next read of a feed that reads by itself, where it would have batches of
// up to size. All such feeds share the events that one of them may read, because small events weigh little and take memory all the
// same; each may have one batch of the first size.
func (s *Source) portion(size int) (each, batches int) {
	events := s.alone.of(s.cfg.most() * flowBatches)
	parts := flowBatches
	if size > s.cfg.most() {
		parts = 1
	}
	each = min(size, max(events/parts, s.cfg.BatchSize))
	return each, min(max(events/each, 1), flowBatches)
}

// flowing is a read of a Feed that hands out batches while it goes on. Its goroutine reads; the Feed takes, and waits for it.
type flowing struct {
	batches chan Batch // all but the last; has room for them, so that the read never waits
	last    Batch      // written before batches is closed
	err     error      // written before batches is closed
}

// begin begins to read.
func (f *Feed) begin(ctx context.Context) *flowing {
	w := &flowing{batches: make(chan Batch, flowBatches)}
	size, batches := f.source.portion(f.size)
	// Owned by the Feed, which waits until batches is closed before it uses its reader again, or ends.
	go func() {
		defer close(w.batches)
		w.last, w.err = f.reader.Flow(ctx, size, batches, func(b Batch) { w.batches <- b })
	}()
	return w
}

// next waits for the next batch, and reports whether it is the last one.
func (w *flowing) next() (b Batch, last bool, err error) {
	b, more := <-w.batches
	if more {
		return b, false, nil
	}
	return w.last, true, w.err
}

// wait waits until nothing is read any more. w may be nil.
func (w *flowing) wait() {
	for more := w != nil; more; {
		_, more = <-w.batches
	}
}
