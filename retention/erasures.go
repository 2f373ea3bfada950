package retention

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// erasure is what was erased of a stream.
type erasure struct {
	upTo    int64
	payload *string // what took the place of the payloads; nil: the events were deleted
	last    int64   // but for this one
}

// erased is everything that was erased, by stream, in the order of positions.
type erased map[[sha256.Size]byte][]erasure

// erasures reads what was erased.
func erasures(ctx context.Context, q querier) (erased, error) {
	rows, err := q.Query(ctx, sqlErasures)
	all := erased{}
	if err == nil {
		var stream []byte
		var e erasure
		_, err = pgx.ForEachRow(rows, []any{&stream, &e.upTo, &e.payload, &e.last}, func() error {
			key := [sha256.Size]byte(stream)
			all[key] = append(all[key], e)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("retention: look for what was erased: %w", err)
	}
	return all, nil
}

// of returns what was erased of the event of a stream at a position, nil if nothing.
func (e erased) of(stream [sha256.Size]byte, position int64) *erasure {
	var found *erasure
	for _, one := range e[stream] {
		if position <= one.upTo {
			found = &one // the last one counts
		}
	}
	return found
}

// cover reports whether an event may differ from its archive, because something of it was erased.
func (e erased) cover(r *record) bool { return len(e) > 0 && e.of(r.stream(), r.Position) != nil }

// apply returns r as it is after what was erased; false if it is no more.
func (e erased) apply(r *record) (is bool) {
	if len(e) == 0 {
		return true
	}
	one := e.of(r.stream(), r.Position)
	switch {
	case one == nil:
		return true
	case one.payload != nil:
		r.setTexts(*one.payload, nothing)
		return true
	case one.last == r.Position:
		r.setTexts(nothing, nothing)
		return true
	}
	return false
}

// nothing is the payload and the metadata of an event of which nothing is left.
const nothing = "{}"
