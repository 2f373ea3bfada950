package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
)

type metadataKey struct{}

// added is one entry of a context, with those before it.
type added struct {
	key, value string
	before     *added
}

// WithMetadata returns a context under which [Append] adds an entry to the metadata of every event, such as a trace context or
// who is logged in. What an event has in its own metadata, or a later call adds, wins. An event whose metadata is not an object
// is refused under such a context, with [ErrInvalid].
func WithMetadata(ctx context.Context, key, value string) context.Context {
	before, _ := ctx.Value(metadataKey{}).(*added)
	return context.WithValue(ctx, metadataKey{}, &added{key: key, value: value, before: before})
}

// withMetadata returns events with what the context adds; the caller's are left alone.
func withMetadata(ctx context.Context, events []NewEvent) ([]NewEvent, error) {
	first, _ := ctx.Value(metadataKey{}).(*added)
	if first == nil {
		return events, nil
	}
	completed := make([]NewEvent, len(events))
	for i, e := range events {
		own := map[string]json.RawMessage{}
		if len(e.Metadata) > 0 {
			if err := json.Unmarshal(e.Metadata, &own); err != nil || own == nil {
				return nil, fmt.Errorf("%w: event %d of %d: the metadata is no JSON object, so nothing can be added to it", ErrInvalid, i+1, len(events))
			}
		}
		for a := first; a != nil; a = a.before {
			if _, has := own[a.key]; has {
				continue
			}
			value, err := json.Marshal(a.value)
			if err != nil {
				return nil, fmt.Errorf("%w: metadata: %w", ErrInvalid, err)
			}
			own[a.key] = value
		}
		raw, err := json.Marshal(own)
		if err != nil {
			return nil, fmt.Errorf("%w: metadata: %w", ErrInvalid, err)
		}
		completed[i] = e
		completed[i].Metadata = raw
	}
	return completed, nil
}
