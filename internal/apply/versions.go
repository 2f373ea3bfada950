package apply

import (
	"hash/maphash"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	// watchedStreams is the most aggregates whose last version a projection remembers: 1 MiB, a power of two. The projections of a process
	// remember allStreams together, 8 MiB, each the same number, and leastStreams at least. Two
	// aggregates whose hashes end alike push each other out. The watch is a second, independent check and may miss a
	// gap, but it must cost neither memory without end nor much time: 10 to 12 ns an event, where a map took 32 to 100
	// (BenchmarkVersions).
	watchedStreams = 1 << 16
	allStreams     = 1 << 19
	leastStreams   = 1 << 10

	// maxReported bounds the number of aggregates whose gap was reported, at about 100 bytes each.
	maxReported = 100_000
)

// Versions checks that the versions of every aggregate rise by one. A jump means that an event was lost, or that a
// program writes versions of its own. It is for one goroutine.
type Versions struct {
	log    zerolog.Logger
	jumped func(ev eventstore.Event, want int64) // nil: a jump is only logged

	streams  uint64 // the length of last, a power of two
	seed     maphash.Seed
	last     []lastVersion                  // by the end of the hash; nil: no event was seen
	reported map[eventstore.Stream]struct{} // aggregates whose jump was reported, up to maxReported
}

// lastVersion is the last version of an aggregate, identified by its whole hash. Two aggregates are mistaken for each
// other if the other 48 bits agree by chance: once in 280,000 logs of 1,000,000,000 events. Then a jump is reported
// that is none.
type lastVersion struct {
	hash    uint64
	version int64 // 0: none
}

// NewVersions returns a watch that has seen no event, for one of so many projections of the process. It calls jumped, if not nil,
// once for each aggregate whose version has jumped; want is the version that was due.
func NewVersions(log zerolog.Logger, jumped func(ev eventstore.Event, want int64), projections int) *Versions {
	return &Versions{log: log, jumped: jumped, streams: streams(projections), seed: maphash.MakeSeed(), reported: map[eventstore.Stream]struct{}{}}
}

// streams returns how many aggregates each of so many projections remembers.
func streams(projections int) uint64 {
	each := uint64(watchedStreams)
	for each > leastStreams && each*uint64(max(projections, 1)) > allStreams {
		each /= 2
	}
	return each
}

// Forget starts over, because events may come again or have been handled by another worker.
func (v *Versions) Forget() { v.last = nil }

// see takes in the next event of its aggregate, and reports it if its version is not the next.
func (v *Versions) see(ev *eventstore.Event) {
	if v.last == nil {
		v.last = make([]lastVersion, v.streams)
	}
	hash := maphash.String(v.seed, ev.AggregateID) ^ maphash.String(v.seed, ev.AggregateType)<<1
	place := &v.last[hash&(v.streams-1)]
	last := *place
	*place = lastVersion{hash, ev.AggregateVersion}
	if last.version == 0 || last.hash != hash || ev.AggregateVersion == last.version+1 {
		return
	}
	v.report(ev, last.version+1)
}

// report reports a gap, once per aggregate.
func (v *Versions) report(ev *eventstore.Event, want int64) {
	stream := ev.Stream()
	if _, done := v.reported[stream]; done || len(v.reported) >= maxReported {
		return
	}
	v.reported[stream] = struct{}{}
	v.log.Error().Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Int64(keyPosition, ev.GlobalPosition).Int64("version", ev.AggregateVersion).Int64("want", want).
		Msg("an aggregate's version jumped: an event is missing, or versions are written out of turn")
	if v.jumped != nil {
		v.jumped(*ev, want)
	}
}
