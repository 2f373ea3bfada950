package listener

import (
	"math"
	"sync"
	"time"
)

// The two ways into a torrent, and the way out. A log that notifies runs one commit at a time, so on a slow disk its speed
// never reaches what the disk could do; but then appends queue, and wakes find several of them.
//
// Both are averages, because at random times a few wakes in a row find two appends even in a log that is calm.
const (
	torrentRate = 500.0 // events/s of the log's head above which notifying is given up; at 300, a log of 250/s flapped
	calmShare   = 0.5   // of that, below which it may begin again

	// wakeBudget is how many wakes a second may come to all processes together, for each costs the server two reads: above four
	// processes the speed at which notifying is given up falls with their number.
	wakeBudget = 4 * torrentRate

	crowd     = 2.0  // appends open at wakes above which they queue: 3 of 4 writers without a break, 0.6 of 4 writers at 60/s
	calmCrowd = 1.5  // and below which they do not any more; one writer without a break is 1
	crowdRate = 20.0 // a queue that moves slower than this many events/s is only somebody who keeps a transaction open

	calmFor = time.Second // how long both must be calm

	smoothing = 300 * time.Millisecond // time constant of both averages
)

// pressure watches the log through what readers see of it anyway and decides between quiet and torrent.
type pressure struct {
	mu        sync.Mutex // protects all fields
	head      int64
	at        time.Time
	rate      float64   // events/s, smoothed
	open      float64   // appends open at wakes, smoothed
	busySince time.Time // when it was last seen not to be calm
	limit     float64   // events/s above which it is a torrent

	wakes   float64 // wakes, those that are older by smoothing count 1/e
	wokenAt time.Time
}

// woken takes in a wake, each of which is a commit. So a torrent begins before a reader has seen it, which matters where many
// processes are woken at once and their reads hold each other up.
func (p *pressure) woken(members int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limitFor(members)
	p.wakes = 1 + p.wakes*math.Exp(-float64(now.Sub(p.wokenAt))/float64(smoothing))
	p.wokenAt = now
	if p.wakeRate() > calmShare*p.limit {
		p.busySince = now
	}
}

func (p *pressure) wakeRate() float64 { return p.wakes / smoothing.Seconds() }

// limitFor is above how many events/s that wake so many processes it is a torrent.
func limitFor(members int) float64 { return min(torrentRate, wakeBudget/float64(max(members, 1))) }

// observe takes in one read: the head of the log, the number of open appends, whether a wake led to the read, and how many
// processes each wake comes to.
func (p *pressure) observe(head int64, holders int, woken bool, members int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limitFor(members)
	passed := now.Sub(p.at)
	switch {
	case head < p.head && passed < time.Second:
		return // several readers tell of what they saw in any order, and this one looked earlier
	case head < p.head || p.at.IsZero():
		p.head, p.at = head, now
	case passed >= time.Millisecond:
		weight := 1 - math.Exp(-float64(passed)/float64(smoothing))
		p.rate += weight * (float64(head-p.head)/passed.Seconds() - p.rate)
		if woken {
			p.open += weight * (float64(holders) - p.open)
		}
		p.head, p.at = head, now
	}
	if p.rate > calmShare*p.limit || (p.open > calmCrowd && p.rate > crowdRate) {
		p.busySince = now
	}
}

// torrent tells whether notifying should be given up.
func (p *pressure) torrent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.rate, p.wakeRate()) > p.limit || (p.open > crowd && p.rate > crowdRate)
}

// calm tells whether the log has been seen to be calm for long enough to notify again. That a reader is busy and has not
// looked does not make it calm.
func (p *pressure) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Sub(p.busySince) >= calmFor
}
