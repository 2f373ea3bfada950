package rouse

import (
	"slices"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

// A barrier stands at a checkpoint that some partition has reached while partitions are to be joined, for which all must have
// reached the same. Owners go on up to it and wait there until it is gone, or moved on because somebody had passed it before
// seeing it. Nothing depends on an owner's seeing it in time: partitions are joined when their checkpoints are equal.

// heed takes note of where the barrier stands.
func (s *session) heed(barrier int64) {
	if s.barrier != barrier {
		s.barrier = barrier
		s.idled = -1 // partitions may have to come to rest elsewhere
	}
}

// held tells whether everything up to the barrier is handled.
func (s *session) held() bool { return s.done >= s.barrier }

// input is where batches come from, while any may be handled.
func (s *session) input(f *feed) <-chan catchup.Batch {
	if s.held() {
		return nil
	}
	return f.out
}

// within leaves out what is beyond the barrier.
func (s *session) within(b catchup.Batch) catchup.Batch {
	if b.To <= s.barrier {
		return b
	}
	s.cut = s.barrier
	beyond := slices.IndexFunc(b.Events, func(ev eventstore.Event) bool { return ev.GlobalPosition > s.barrier })
	if beyond >= 0 {
		b.Events = b.Events[:beyond]
	}
	b.To, b.More = s.barrier, true
	return b
}

// reread tells whether what was left out may be handled now; the next session reads it again.
func (s *session) reread() bool { return s.cut != partition.NoBarrier && s.barrier > s.cut }
