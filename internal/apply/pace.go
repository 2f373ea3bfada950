package apply

import (
	"sync"
	"time"
)

const (
	// maxGrowth is how many times larger a batch may be than the one before: from one event to rouse.DefaultBatchSize in
	// four batches, which a fast handler does not notice, and not far into what a slow one cannot do.
	maxGrowth = 8

	// slowGrowth is maxGrowth for a projection whose batches were too slow once.
	slowGrowth = 2

	// maxShare is more than maxGrowth needs, for a projection without any limit of time.
	maxShare = 1e9

	// grownTime is how long a batch may take that has more events than the first size of the worker's. Within it a larger one
	// saves a transaction; beyond, nothing is gained that others would wait for: locks on the read model, a stop, a claim.
	grownTime = 100 * time.Millisecond

	// rowEvents is how many events a checkpoint that is saved should serve while a projection is far behind. A row takes 3.3 us, and an
	// event that is handled by nothing 0.7: with 1,024 partitions batches of 10,000 would spend a third of the time on saves.
	rowEvents = 20

	// ceilingRest is how long no batch comes near the size that ran out of time. The cause may pass, such as a lock that
	// somebody held; a handler whose time grows faster than its batches wastes one HandlerTimeout in ten minutes.
	ceilingRest = 10 * time.Minute
)

// Pace is the size of the batches of a projection, which follows the time that the last ones took. Up to a first size that
// matters for the batch form alone: a batch of many statements travels whole, so nothing can end it after Handler.BatchTime.
// It begins with one event, for nothing is known of a handler then. Beyond the first size batches grow in both forms, as long as
// they are fast and none fails. Those of an effect do not, because what is done is done again after a crash. Its methods may be
// called by many goroutines.
type Pace struct {
	first  int           // the size up to which batches may take target
	most   int           // the maximum that is configured, while they take grownTime at most
	target time.Duration // of one batch; 0: none
	least  int           // they are not made smaller than that

	mu      sync.Mutex // protects the fields below
	limit   int        // the maximum, written by Widen: most, or more where there are many checkpoints
	size    int        // of the next batch
	growth  int        // maxGrowth, or slowGrowth
	ceiling int        // the maximum until expires
	expires time.Time  // zero: there is no ceiling
}

// NewPace returns the Pace for batches of handler, of up to first events, and up to limit where they are fast.
func NewPace(handler Handler, first, limit int) *Pace {
	limit = max(first, limit)
	p := &Pace{first: first, most: limit, target: handler.BatchTime, least: 1, size: 1, growth: maxGrowth}
	switch {
	case handler.Do != nil:
		p.size, p.least, p.most = first, first, first
	case handler.ApplyBatch == nil: // the budget ends its batches in time
		p.size, p.least = first, first
	case p.target == 0:
		p.size = first
	}
	if half := handler.Timeout / 2; half > 0 && (p.target == 0 || half < p.target) {
		p.target = half
	}
	p.limit = p.most
	return p
}

// Widen notes how many checkpoints a save may move, and returns the most events of a batch: what NewPace was told, or rowEvents for
// each of the checkpoints where batches may grow.
func (p *Pace) Widen(checkpoints int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = p.most
	if p.most > p.first {
		p.limit = max(p.most, checkpoints*rowEvents)
	}
	p.size = min(p.size, p.limit)
	return p.limit
}

// next returns the maximum number of events of the next batch.
func (p *Pace) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// took notes that a batch of n events took a time. One that was too slow makes the next smaller. One that had as many
// events as it could have, and took less than half of the time that it might, makes the next larger.
func (p *Pace) took(n int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took = max(took, 1)
	share := maxShare
	if p.target > 0 {
		share = float64(p.target) / float64(took)
	}
	grown := int(float64(n) * float64(grownTime) / float64(took)) // what would take grownTime
	switch {
	case share < 1:
		p.size, p.growth = max(p.least, int(float64(n)*share)), slowGrowth
	case n > p.first && took > grownTime:
		p.size = max(p.first, grown)
	case n >= p.size && share > 2:
		p.size = min(p.highest(), int(float64(n)*min(share/2, float64(p.growth))))
		if p.size > p.first {
			p.size = max(p.first, min(p.size, grown))
		}
	}
}

// failed notes that a batch of n events has failed, which is now halved: the next ones are not larger than the first size, and grow
// slowly.
func (p *Pace) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.growth = min(p.size, p.first), slowGrowth
}

// timedOut notes that a batch of n events ran out of Handler.Timeout: none of more than half of it comes for
// ceilingRest.
func (p *Pace) timedOut(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ceiling, p.expires, p.growth = max(1, n/2), time.Now().Add(ceilingRest), slowGrowth
	p.size = max(p.least, min(p.size, p.ceiling))
}

// highest returns the maximum size of a batch at present. The caller holds the mutex.
func (p *Pace) highest() int {
	if p.expires.IsZero() || time.Now().After(p.expires) {
		return p.limit
	}
	return p.ceiling
}
