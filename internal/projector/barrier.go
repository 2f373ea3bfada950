package projector

import (
	"slices"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

// barrier is the position beyond which a session handles no event for now. It stands at the highest checkpoint while
// partitions are joined, for which the checkpoints of all must be equal. Owners go on up to it and wait there until it
// is lifted, or moved on because an owner had passed it before seeing it. Correctness does not depend on an owner's
// seeing it in time: partitions are joined only when their checkpoints are equal. It is for one goroutine.
type barrier struct {
	at  int64 // written by setBarrier; partition.NoBarrier: there is none
	cut int64 // written by clip: the barrier at which events that were read were left out; partition.NoBarrier: none were
}

// newBarrier returns a barrier that is not set.
func newBarrier() barrier { return barrier{at: partition.NoBarrier, cut: partition.NoBarrier} }

// setBarrier moves the barrier to position at, and reports whether it stood elsewhere.
func (b *barrier) setBarrier(at int64) (moved bool) {
	moved = b.at != at
	b.at = at
	return moved
}

// atBarrier reports whether a session that has handled everything up to done has come to the barrier.
func (b *barrier) atBarrier(done int64) bool { return done >= b.at }

// clip returns read without the part beyond the barrier.
func (b *barrier) clip(read catchup.Batch) catchup.Batch {
	if read.To <= b.at {
		return read
	}
	b.cut = b.at
	beyond := slices.IndexFunc(read.Events, func(ev eventstore.Event) bool { return ev.GlobalPosition > b.at })
	if beyond >= 0 {
		read.Events = read.Events[:beyond]
	}
	read.To, read.More = b.at, true
	return read
}

// mustReread reports whether events that clip left out may be handled now. The next session reads them again.
func (b *barrier) mustReread() bool { return b.cut != partition.NoBarrier && b.at > b.cut }
