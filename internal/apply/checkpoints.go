package apply

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/await"
	"github.com/rouse-es/rouse/partition"
)

// Checkpoints are the checkpoints of the partitions that one claim returned, as the process remembers them. The fence
// of one partition is used by one goroutine at a time.
type Checkpoints struct {
	schema, projection, instance string
	token                        catchup.Token
	total                        int // partitions of the projection

	fences          []*catchup.Fence // by partition; nil: not owned. moved writes the Floor and the Spot
	savedAt         []time.Time      // by partition: the last save, or the claim; written by moved
	lowest, highest int64            // as claimed
	saves           atomic.Uint32    // how many were made; several goroutines make them

	asked *await.Asked     // whom saves are told to; nil: nobody
	owned await.Partitions // all of them, written by Asked
	alone bool             // one lane handles the events of all partitions, in order; written by Apply while none does
}

// NewCheckpoints returns the checkpoints of leases, of which there must be at least one, in a projection with total
// partitions.
func NewCheckpoints(schema, projection, instance string, token catchup.Token, leases []partition.Lease, total int) *Checkpoints {
	c := &Checkpoints{
		schema: schema, projection: projection, instance: instance, token: token, total: total,
		fences: make([]*catchup.Fence, total), savedAt: make([]time.Time, total), lowest: leases[0].Floor,
	}
	now := time.Now()
	for _, l := range leases {
		c.savedAt[l.Partition] = now
		c.fences[l.Partition] = &catchup.Fence{Partition: l.Partition, Epoch: l.Epoch, Floor: l.Floor, Event: l.Event, Spot: catchup.SpotAt(l.Spot)}
		c.lowest, c.highest = min(c.lowest, l.Floor), max(c.highest, l.Floor)
	}
	return c
}

// Owned returns the partitions that are owned, rising.
func (c *Checkpoints) Owned() []int {
	var owned []int
	for p, fence := range c.fences {
		if fence != nil {
			owned = append(owned, p)
		}
	}
	return owned
}

// Lowest returns the lowest checkpoint at the time of the claim.
func (c *Checkpoints) Lowest() int64 { return c.lowest }

// Highest returns the highest checkpoint at the time of the claim.
func (c *Checkpoints) Highest() int64 { return c.highest }

// Passed reports whether the checkpoint of the event's partition is at or beyond the event. The partition must be
// owned.
func (c *Checkpoints) Passed(ev *eventstore.Event) bool {
	return ev.GlobalPosition <= c.fences[partition.Of(ev.Slot, c.total)].Floor
}

// partition returns the partition of ev.
func (c *Checkpoints) partition(ev eventstore.Event) int { return partition.Of(ev.Slot, c.total) }

// fence returns the fence of the partition of ev.
func (c *Checkpoints) fence(ev eventstore.Event) *catchup.Fence { return c.fences[c.partition(ev)] }

// touched returns the fences of the partitions of events, each once, in the order of partitions.
func (c *Checkpoints) touched(events []eventstore.Event) []*catchup.Fence {
	var seen [catchup.Slots / 64]uint64 // a bit for each partition
	n := 0
	for i := range events {
		p := partition.Of(events[i].Slot, c.total)
		if word, bit := &seen[p/64], uint64(1)<<(p%64); *word&bit == 0 {
			*word |= bit
			n++
		}
	}
	touched := make([]*catchup.Fence, 0, n)
	for i, word := range seen {
		for ; word != 0; word &= word - 1 {
			touched = append(touched, c.fences[64*i+bits.TrailingZeros64(word)])
		}
	}
	return touched
}

// behind returns the fences whose floor is below position.
func (c *Checkpoints) behind(position int64) (behind []*catchup.Fence) {
	for _, fence := range c.fences {
		if fence != nil && fence.Floor < position {
			behind = append(behind, fence)
		}
	}
	return behind
}

// Behind returns how many checkpoints are below position.
func (c *Checkpoints) Behind(position int64) int { return len(c.behind(position)) }

// Old reports whether a checkpoint below position to was not saved since a time, or is below position low.
func (c *Checkpoints) Old(to int64, since time.Time, low int64) bool {
	return len(c.old(to, since, low)) > 0
}

// old returns the fences whose floor is below position to, and which were not saved since a time or are below position low.
func (c *Checkpoints) old(to int64, since time.Time, low int64) []*catchup.Fence {
	return slices.DeleteFunc(c.behind(to), func(f *catchup.Fence) bool { return f.Floor >= low && !c.savedAt[f.Partition].Before(since) })
}

// save returns the Save that moves fences, which are in the order of partitions, to position to.
func (c *Checkpoints) save(fences []*catchup.Fence, to catchup.Mark) catchup.Save {
	save := catchup.Save{
		Schema: c.schema, Projection: c.projection, Instance: c.instance, Token: c.token, To: to.Position, Event: to.Event,
		Fences: make([]catchup.Fence, len(fences)), Watch: c.saves.Add(1)%catchup.WatchEvery == 0,
	}
	for i, f := range fences {
		save.Fences[i] = *f
	}
	return save
}

// moved notes that the save of end, which is one of fences, has committed.
func (c *Checkpoints) moved(fences []*catchup.Fence, end txEnd) {
	now := time.Now()
	for _, fence := range fences {
		fence.Floor, fence.Event = end.save.To, end.save.Event
		c.savedAt[fence.Partition] = now
	}
	end.noteSpots(fences)
}

// markOf returns the position of an event, and which event that is.
func markOf(ev *eventstore.Event) catchup.Mark {
	return catchup.Mark{Position: ev.GlobalPosition, Event: ev.ID.String()}
}
