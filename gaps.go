package rouse

import (
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
)

// maxRemembered bounds the aggregates whose versions are watched, at about 100 bytes each. When it is reached the watch
// starts over; it is a second, independent check and may miss a gap, but it must not cost memory without end.
const maxRemembered = 200_000

// gaps watches that the versions of every aggregate rise by one. A jump means that an event was lost, or that somebody
// writes versions of his own.
type gaps struct {
	log        zerolog.Logger
	observer   Observer
	projection string

	last     map[eventstore.Stream]*int64 // pointers, so that an event costs one look into the map
	reported map[eventstore.Stream]struct{}
}

func newGaps(log zerolog.Logger, observer Observer, projection string) *gaps {
	return &gaps{log: log, observer: observer, projection: projection,
		last: map[eventstore.Stream]*int64{}, reported: map[eventstore.Stream]struct{}{}}
}

// forget starts over, because events may come again or have been handled elsewhere.
func (g *gaps) forget() { clear(g.last) }

func (g *gaps) see(ev *eventstore.Event) {
	stream := ev.Stream()
	seen, known := g.last[stream]
	if !known {
		if len(g.last) >= maxRemembered {
			clear(g.last)
		}
		version := ev.AggregateVersion
		g.last[stream] = &version
		return
	}
	last := *seen
	*seen = ev.AggregateVersion
	if ev.AggregateVersion == last+1 {
		return
	}
	if _, done := g.reported[stream]; done || len(g.reported) >= maxRemembered {
		return
	}
	g.reported[stream] = struct{}{}
	g.log.Error().Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Int64(keyPosition, ev.GlobalPosition).Int64("version", ev.AggregateVersion).Int64("want", last+1).
		Msg("an aggregate's version jumped: an event is missing, or versions are written out of turn")
	if g.observer.VersionGap != nil {
		g.observer.VersionGap(g.projection, *ev, last+1)
	}
}
