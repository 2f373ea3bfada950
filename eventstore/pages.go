package eventstore

import (
	"context"
	"iter"
)

// Pages returns the events of a stream in the order of their versions, in parts that are read one after the other, so that a
// stream of any length takes the memory of one part. options.Limit is the number of events of a part; 0 or less is
// [DefaultReadLimit]. No part is empty: a stream without events has none.
//
//	for events, err := range eventstore.Pages(ctx, pool, stream, eventstore.ReadOptions{}) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// Each part is one statement, which has ended when the loop sees its events: the loop may use q, and may end at any time.
// After an error, which has no events beside it, there is no further part. Events that are appended while the loop runs are
// read too, since they stand at the end of the stream. Events that leave the log meanwhile are missing: compare the
// versions, which have no holes otherwise.
func Pages(ctx context.Context, q Querier, stream Stream, options ReadOptions) iter.Seq2[[]Event, error] {
	if options.Limit <= 0 {
		options.Limit = DefaultReadLimit
	}
	return func(yield func([]Event, error) bool) {
		for part := options; ; {
			events, err := ReadStream(ctx, q, stream, part)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(events) == 0 || !yield(events, nil) || len(events) < part.Limit {
				return
			}
			part.FromVersion = events[len(events)-1].AggregateVersion + 1
		}
	}
}
