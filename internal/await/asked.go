package await

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// asksKept is how many asks of positions that are still to come are remembered. A waiter whose ask is forgotten asks again.
const asksKept = 256

// Asked is what waiters have asked of one projection in this process. Hear may be called by any goroutine, and so may Replying and
// Reply; the other methods are for the goroutine of the projection's session. A nil Asked is one that nobody asks, as of what is built
// beside a projection: whoever waits for that looks by itself.
type Asked struct {
	channel string
	key     string

	replying atomic.Bool  // written by Settle and Forget
	since    atomic.Int64 // as in reply; written before replying

	mu    sync.Mutex // protects the fields below
	until time.Time  // when the last ask is too old
	wants []ask      // for positions that were not replied to yet

	nudge chan struct{} // sent by Hear; buffered to 1, so that it need not wait
}

// NewAsked returns an Asked for a projection of the log whose table of events has the oid events.
func NewAsked(events uint32, projection string) *Asked {
	return &Asked{channel: RepliesChannel(events), key: Key(projection), nudge: make(chan struct{}, 1)}
}

// Key is that of the projection.
func (a *Asked) Key() string { return a.key }

// Channel is the one that replies go to.
func (a *Asked) Channel() string { return a.channel }

// C receives after asks have come.
func (a *Asked) C() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.nudge
}

// Hear takes in an ask. It does not wait.
func (a *Asked) Hear(payload string) {
	one, err := parseAsk(payload)
	if err != nil || one.key != a.key {
		return
	}
	a.mu.Lock()
	a.until = time.Now().Add(askedFor)
	if !slices.Contains(a.wants, one) {
		if len(a.wants) == asksKept {
			a.wants = slices.Delete(a.wants, 0, 1)
		}
		a.wants = append(a.wants, one)
	}
	a.mu.Unlock()
	select {
	case a.nudge <- struct{}{}:
	default:
	}
}

// Wanted reports whether a waiter is there.
func (a *Asked) Wanted() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.until)
}

// KeyOf returns the key of the projection that an ask is for.
func KeyOf(payload string) string {
	one, _ := parseAsk(payload)
	return one.key
}

// Settle begins to reply if a waiter has asked, and ends it when nobody has for long. done is the highest position that was handled in
// any partition of this session. Call it while nothing is under way, so that no save up to done goes without a reply unseen.
func (a *Asked) Settle(done int64) {
	if a == nil {
		return
	}
	a.mu.Lock()
	wanted := time.Now().Before(a.until)
	if !wanted {
		a.wants = nil
	}
	a.mu.Unlock()
	if wanted == a.replying.Load() {
		return
	}
	if wanted {
		a.since.Store(done)
	}
	a.replying.Store(wanted)
}

// Forget ends the replies of a session: others may have had its partitions in between.
func (a *Asked) Forget() {
	if a != nil {
		a.replying.Store(false)
	}
}

// Replying reports whether saves are to be told. A nil Asked never is.
func (a *Asked) Replying() bool { return a != nil && a.replying.Load() }

// Look returns what has those who wait look at the database.
func (a *Asked) Look() string { return reply{key: a.key, look: true}.String() }

// Reply returns what a save tells: that everything up to to is handled in partitions, of total; look: but for what was set aside in it.
func (a *Asked) Reply(to int64, partitions Partitions, total int, look bool) string {
	return reply{key: a.key, since: a.since.Load(), to: to, look: look, total: total, partitions: partitions}.String()
}

// Bare is Reply without a save.
func (a *Asked) Bare(to int64, partitions Partitions, total int) string {
	return reply{key: a.key, since: a.since.Load(), to: to, bare: true, total: total, partitions: partitions}.String()
}

// Due takes the asks for positions up to done, and reports whether there were any, and whether one of them needs the checkpoints saved.
func (a *Asked) Due(done int64) (any, save bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since := a.since.Load()
	a.wants = slices.DeleteFunc(a.wants, func(one ask) bool {
		if one.to > done {
			return false
		}
		any, save = true, save || one.save || one.from <= since
		return true
	})
	return any, save
}
