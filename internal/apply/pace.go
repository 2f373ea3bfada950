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

	// ceilingRest is how long no batch comes near the size that ran out of time. The cause may pass, such as a lock that
	// somebody held; a handler whose time grows faster than its batches wastes one HandlerTimeout in ten minutes.
	ceilingRest = 10 * time.Minute
)

// Pace is the size of the batches that the batch form of a projection gets. A batch of many statements travels whole, so
// nothing can end it after Handler.BatchTime; instead the next one follows the time that the last one took. It begins
// with one event, for nothing is known of a handler then. Its methods may be called by many goroutines.
type Pace struct {
	limit  int           // the maximum
	target time.Duration // of one batch; 0: none

	mu      sync.Mutex // protects the fields below
	size    int        // of the next batch
	growth  int        // maxGrowth, or slowGrowth
	ceiling int        // the maximum until expires
	expires time.Time  // zero: there is no ceiling
}

// NewPace returns the Pace for batches of up to limit events of handler.
func NewPace(handler Handler, limit int) *Pace {
	p := &Pace{limit: limit, target: handler.BatchTime, size: 1, growth: maxGrowth}
	if p.target == 0 {
		p.size = limit
	}
	if half := handler.Timeout / 2; half > 0 && (p.target == 0 || half < p.target) {
		p.target = half
	}
	return p
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
	if p.target == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch share := float64(p.target) / float64(max(took, 1)); {
	case share < 1:
		p.size, p.growth = max(1, int(float64(n)*share)), slowGrowth
	case n >= p.size && share > 2:
		p.size = min(p.highest(), int(float64(n)*min(share/2, float64(p.growth))))
	}
}

// timedOut notes that a batch of n events ran out of Handler.Timeout: none of more than half of it comes for
// ceilingRest.
func (p *Pace) timedOut(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ceiling, p.expires, p.growth = max(1, n/2), time.Now().Add(ceilingRest), slowGrowth
	p.size = min(p.size, p.ceiling)
}

// highest returns the maximum size of a batch at present. The caller holds the mutex.
func (p *Pace) highest() int {
	if p.expires.IsZero() || time.Now().After(p.expires) {
		return p.limit
	}
	return p.ceiling
}
