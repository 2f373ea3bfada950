package catchup

import (
	"context"

	"github.com/rouse-es/rouse/eventstore"
)

// offer sends b to the caller. What the buffer gets while the caller is not ready for b is added to b, so that a caller that
// takes longer than a read gets one large batch for many small reads, and saves once.
func (f *Feed) offer(ctx context.Context, b Batch) error {
	f.pulse.Yielding()
	var more <-chan struct{}
	if f.joined && !b.Partial {
		more = f.place.C
	}
	for {
		select {
		case f.out <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
			if !f.extend(&b) {
				more = nil
			}
		}
	}
}

// extend adds what follows b in the buffer, as far as the bounds of a batch reach. It reports whether there is room for more.
func (f *Feed) extend(b *Batch) bool {
	limit, most := f.source.cfg.most()-len(b.Events), f.source.joined.each()-weigh(b.Events)
	if limit <= 0 || !f.place.fits(most) {
		return false
	}
	found, ok, err := f.place.next(limit, most)
	if err != nil {
		return false // which the next call of next returns as well
	}
	if ok {
		b.Events = append(b.Events, found.Events...)
		b.To, b.Head, b.More = found.To, found.Head, found.More
		f.at = b.To
	}
	return true
}

// weigh returns the bytes of events that count for a bound.
func weigh(events []eventstore.Event) (bytes int) {
	for i := range events {
		bytes += size(&events[i])
	}
	return bytes
}
