package listener

import (
	"math"
	"sync"
	"time"
)

// The two ways into a torrent, and the way out. A log that notifies runs one commit at a time, so on a slow disk its
// speed never reaches the speed of the disk; but then appends queue, and wakes find several of them.
//
// Both are averages, because at random times a few wakes in a row find two appends even in a log that is calm. The way out is
// a count, because an average still has in it what is over.
const (
	torrentRate = 500.0 // events/s of the log's head above which notifying is given up; at 300, a log of 250/s flapped

	// wakeBudget is the maximum number of wakes a second that come to all processes together, for each costs the server
	// two reads: above four processes the rate at which notifying is given up falls with their number.
	wakeBudget = 4 * torrentRate

	crowd     = 2.0  // appends open at wakes above which they queue: 3 of 4 writers without a break, 0.6 of 4 writers at 60/s
	calmCrowd = 1.5  // and below which they do not any more; one writer without a break is 1
	crowdRate = 20.0 // events/s; a slower queue is only an application that keeps a transaction open

	calmFor = time.Second // how long both must be calm

	smoothing = 300 * time.Millisecond // time constant of the averages
	mostApart = 100 * time.Millisecond // what one count of the open appends stands for at most, so that no single one decides
)

// pressure watches the log through the reads that happen anyway and decides between quiet and torrent. Its methods may
// be called by many goroutines.
type pressure struct {
	mu        sync.Mutex // protects all fields
	head      int64      // as the last read saw it
	at        time.Time  // when that was
	rate      float64    // events/s, smoothed
	open      float64    // open appends, smoothed: at wakes, and in a torrent at any time
	counted   time.Time  // when they were last counted
	limit     float64    // events/s above which it is a torrent
	inTorrent bool       // nobody is woken

	// The log has been calm since then, when its head was at calmHead.
	calmSince time.Time
	calmHead  int64

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
}

// wakeRate returns the smoothed rate of wakes per second. The caller holds the mutex.
func (p *pressure) wakeRate() float64 { return p.wakes / smoothing.Seconds() }

// limitFor returns the event rate above which the listener stops asking for notifications, given the number of
// processes that each notification wakes.
func limitFor(members int) float64 { return min(torrentRate, wakeBudget/float64(max(members, 1))) }

// calmLimit returns the event rate up to which a log is calm, given the rate at which a torrent begins: lower by four standard
// deviations of a count at random, so that a log at this rate does not begin the next torrent by chance.
func calmLimit(limit float64) float64 { return max(limit-4*math.Sqrt(limit), limit/4) }

// enter takes in that a torrent has begun, or that it is over.
func (p *pressure) enter(torrent bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inTorrent = torrent
	if !torrent {
		p.rate = min(p.rate, p.calmRate()) // in the average there is still some of the torrent
	}
	p.calmSince, p.calmHead = now, p.head
}

// observe takes in one read: the head of the log; the number of open appends, below 0 if the read did not count them; whether a
// wake led to the read; and the number of processes that each wake comes to.
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
		p.calmSince, p.calmHead = now, head
	case passed >= time.Millisecond:
		p.rate += weight(passed) * (float64(head-p.head)/passed.Seconds() - p.rate)
		p.head, p.at = head, now
	}
	// Only a wake is a moment at which appends queue for being notified. In a torrent nothing wakes a reader, and how many are
	// open at any time says as much.
	if holders >= 0 && (woken || p.inTorrent) && now.Sub(p.counted) >= time.Millisecond {
		p.open += weight(min(now.Sub(p.counted), mostApart)) * (float64(holders) - p.open)
		p.counted = now
	}
	if rate := p.calmRate(); rate > calmLimit(p.limit) || p.open > calmCrowd && rate > crowdRate {
		p.calmSince, p.calmHead = p.at, p.head
	}
}

// calmRate returns how fast the log was in the time for which it may have been calm, events/s. The caller holds the mutex.
func (p *pressure) calmRate() float64 {
	return float64(p.head-p.calmHead) / max(p.at.Sub(p.calmSince), calmFor).Seconds()
}

// weight returns how much the value of the last so long counts in an average.
func weight(passed time.Duration) float64 { return 1 - math.Exp(-float64(passed)/float64(smoothing)) }

// torrent reports whether notifying should be given up.
func (p *pressure) torrent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.rate, p.wakeRate()) > p.limit || (p.open > crowd && p.rate > crowdRate)
}

// calm reports whether a torrent has been calm for long enough to notify again. It counts the time up to the last read: a
// reader that is busy and has not read does not make the log calm.
func (p *pressure) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Sub(p.calmSince) >= calmFor
}
