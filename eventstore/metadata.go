package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
)

// metadataKey is the context key of the last added.
type metadataKey struct{}

// added is one entry of a context; before has those of earlier calls.
type added struct {
	key, value string
	before     *added
}

// WithMetadata returns a context under which [Append] adds an entry to the metadata of every event, such as a trace
// context or the name of the user. An entry in the event's own metadata, or of a later call, wins. An event whose
// metadata is no object is refused under such a context, with [ErrInvalid].
func WithMetadata(ctx context.Context, key, value string) context.Context {
	before, _ := ctx.Value(metadataKey{}).(*added)
	return context.WithValue(ctx, metadataKey{}, &added{key: key, value: value, before: before})
}

// withMetadata returns events with the entries of ctx in their metadata. It does not change the caller's events.
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
