package listener

import (
	"math"
	"sync"
	"time"
)

// The two ways into a torrent, and the way out. A log that notifies runs one commit at a time, so on a slow disk its
// speed never reaches the speed of the disk; but then appends queue, and wakes find several of them.
//
// Both are averages, because at random times a few wakes in a row find two appends even in a log that is calm.
const (
	torrentRate = 500.0 // events/s of the log's head above which notifying is given up; at 300, a log of 250/s flapped
	calmShare   = 0.5   // the part of that below which it may begin again

	// wakeBudget is the maximum number of wakes a second that come to all processes together, for each costs the server
	// two reads: above four processes the rate at which notifying is given up falls with their number.
	wakeBudget = 4 * torrentRate

	crowd     = 2.0  // appends open at wakes above which they queue: 3 of 4 writers without a break, 0.6 of 4 writers at 60/s
	calmCrowd = 1.5  // and below which they do not any more; one writer without a break is 1
	crowdRate = 20.0 // events/s; a slower queue is only an application that keeps a transaction open

	calmFor = time.Second // how long both must be calm

	smoothing = 300 * time.Millisecond // time constant of both averages
)

// pressure watches the log through the reads that happen anyway and decides between quiet and torrent. Its methods may
// be called by many goroutines.
type pressure struct {
	mu        sync.Mutex // protects all fields
	head      int64      // as the last read saw it
	at        time.Time  // when that was
	rate      float64    // events/s, smoothed
	open      float64    // appends open at wakes, smoothed
	busySince time.Time  // when it was last seen not to be calm
	limit     float64    // events/s above which it is a torrent

	// wakes is the number of wakes, in which a wake that is older by smoothing counts 1/e.
	wakes   float64
	wokenAt time.Time
}

// woken takes in a wake, each of which is a commit. So a torrent begins before a reader has seen it, which matters
// where many processes are woken at once and their reads hold each other up.
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

// wakeRate returns the smoothed rate of wakes per second. The caller holds the mutex.
func (p *pressure) wakeRate() float64 { return p.wakes / smoothing.Seconds() }

// limitFor returns the event rate above which the listener stops asking for notifications, given the number of
// processes that each notification wakes.
func limitFor(members int) float64 { return min(torrentRate, wakeBudget/float64(max(members, 1))) }

// observe takes in one read: the head of the log, the number of open appends, whether a wake led to the read, and the
// number of processes that each wake comes to.
func (p *pressure) observe(head int64, holders int, woken bool, members int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limitFor(members)
	passed := now.Sub(p.at)
	switch {
	case head < p.head && passed < time.Second:
		return // several readers report in any order, and this one read earlier
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

// torrent reports whether notifying should be given up.
func (p *pressure) torrent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.rate, p.wakeRate()) > p.limit || (p.open > crowd && p.rate > crowdRate)
}

// calm reports whether the log has been calm for long enough to notify again. It counts the time up to the last read: a
// reader that is busy and has not read does not make the log calm.
func (p *pressure) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Sub(p.busySince) >= calmFor
}
