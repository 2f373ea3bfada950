package listener

import (
	"math"
	"sync"
	"time"
)

// The two ways into a torrent, and the way out. A log that notifies runs one commit at a time, so on a slow disk its speed
// never reaches what the disk could do; but then appends queue, and every wake finds several of them.
const (
	torrentRate = 500.0 // events/s of the log's head above which notifying is given up; at 300, a log of 250/s flapped
	calmRate    = 250.0 // and below which it may begin again

	crowd        = 2                      // appends open at a wake that make it a crowded one
	crowdedWakes = 5                      // so many crowded wakes in a row ...
	crowdedSpan  = 500 * time.Millisecond // ... within so long are a queue
	crowdRate    = 20.0                   // a queue that moves slower than this many events/s is only somebody who keeps a transaction open

	calmFor = time.Second // how long both must be calm

	rateSpan = 300 * time.Millisecond // time constant of the smoothed rate
)

// pressure watches the log through what readers see of it anyway and decides between quiet and torrent.
type pressure struct {
	mu        sync.Mutex // protects all fields
	head      int64
	at        time.Time
	rate      float64     // events/s, smoothed
	crowded   []time.Time // the latest wakes in a row that were crowded
	busySince time.Time   // when it was last seen not to be calm
}

// observe takes in one read: the head of the log, the number of open appends, and whether a wake led to the read.
func (p *pressure) observe(head int64, holders int, woken bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.at.IsZero() || head < p.head:
		p.head, p.at = head, now
	case now.Sub(p.at) >= time.Millisecond:
		passed := now.Sub(p.at)
		weight := 1 - math.Exp(-float64(passed)/float64(rateSpan))
		p.rate += weight * (float64(head-p.head)/passed.Seconds() - p.rate)
		p.head, p.at = head, now
	}
	switch {
	case holders < crowd:
		p.crowded = p.crowded[:0]
	case woken:
		if len(p.crowded) == crowdedWakes {
			p.crowded = append(p.crowded[:0], p.crowded[1:]...)
		}
		p.crowded = append(p.crowded, now)
	}
	if p.rate > calmRate || (holders >= crowd && p.rate > crowdRate) {
		p.busySince = now
	}
}

// torrent tells whether notifying should be given up.
func (p *pressure) torrent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate > torrentRate {
		return true
	}
	return len(p.crowded) == crowdedWakes && p.crowded[crowdedWakes-1].Sub(p.crowded[0]) <= crowdedSpan
}

// calm tells whether the log has been calm for long enough to notify again.
func (p *pressure) calm(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.busySince) < calmFor {
		return false
	}
	p.crowded = p.crowded[:0]
	return true
}
