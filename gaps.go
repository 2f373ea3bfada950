package rouse

import (
	"hash/maphash"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	// watchedStreams is for how many aggregates a projection remembers the last version: 1 MiB, a power of two. Two of them whose
	// hashes end alike push each other out. It is a second, independent check and may miss a gap, but it must cost neither memory
	// without end nor much time: 10 to 12 ns an event, where a map took 32 to 100 (BenchmarkVersions).
	watchedStreams = 1 << 16

	// maxReported bounds the aggregates of which a gap was reported, at about 100 bytes each.
	maxReported = 100_000
)

// gaps watches that the versions of every aggregate rise by one. A jump means that an event was lost, or that somebody
// writes versions of his own.
type gaps struct {
	log        zerolog.Logger
	observer   Observer
	projection string

	seed     maphash.Seed
	last     []lastVersion // by the end of the hash; nil: nothing was seen
	reported map[eventstore.Stream]struct{}
}

// lastVersion is the last version of an aggregate, which is known by the whole of its hash. For two to be taken for one, 48 bits
// must agree by chance: once in 280,000 logs of 1,000,000,000 events. Then a jump is reported that is none.
type lastVersion struct {
	hash    uint64
	version int64 // 0: none
}

func newGaps(log zerolog.Logger, observer Observer, projection string) *gaps {
	return &gaps{log: log, observer: observer, projection: projection,
		seed: maphash.MakeSeed(), reported: map[eventstore.Stream]struct{}{}}
}

// forget starts over, because events may come again or have been handled elsewhere.
func (g *gaps) forget() { g.last = nil }

func (g *gaps) see(ev *eventstore.Event) {
	if g.last == nil {
		g.last = make([]lastVersion, watchedStreams)
	}
	hash := maphash.String(g.seed, ev.AggregateID) ^ maphash.String(g.seed, ev.AggregateType)<<1
	place := &g.last[hash%watchedStreams]
	last := *place
	*place = lastVersion{hash, ev.AggregateVersion}
	if last.version == 0 || last.hash != hash || ev.AggregateVersion == last.version+1 {
		return
	}
	g.jumped(ev, last.version+1)
}

// jumped reports a gap, once per aggregate.
func (g *gaps) jumped(ev *eventstore.Event, want int64) {
	stream := ev.Stream()
	if _, done := g.reported[stream]; done || len(g.reported) >= maxReported {
		return
	}
	g.reported[stream] = struct{}{}
	g.log.Error().Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Int64(keyPosition, ev.GlobalPosition).Int64("version", ev.AggregateVersion).Int64("want", want).
		Msg("an aggregate's version jumped: an event is missing, or versions are written out of turn")
	if g.observer.VersionGap != nil {
		g.observer.VersionGap(g.projection, *ev, want)
	}
}
