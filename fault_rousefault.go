//go:build rousefault

package rouse

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/knownbad"
	"github.com/rouse-es/rouse/partition"
)

var clientFenced = knownbad.ClientFenced

// idleAhead moves all checkpoints to the last visible event while a handler works, if that fault is turned on. What it
// returns ends this.
func (s *session) idleAhead(ctx context.Context) (end func()) {
	if !knownbad.IdleAhead {
		return func() {}
	}
	var fences []*catchup.Fence
	for _, fence := range s.fences {
		if fence != nil {
			copied := *fence
			fences = append(fences, &copied)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepInterval):
		}
		if last, err := catchup.LastVisible(ctx, s.w.pool, math.MaxInt64); err == nil {
			_ = s.work.save(ctx, ending{save: s.save(fences, last)})
		}
	})
	return func() { cancel(); wg.Wait() }
}

// kept are the leases with the checkpoints that this process remembers, if that fault is turned on.
func (s *session) kept(leases []partition.Lease) []partition.Lease {
	if knownbad.CheckpointInMemory {
		for i, l := range leases {
			leases[i].Floor = catchup.RememberedFloor(s.name, l.Partition, l.Floor)
		}
	}
	return leases
}
