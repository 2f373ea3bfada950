package partition

import (
	"time"
)

const (
	// watchInterval is how often an elastic member that is awake looks whether another one has died. With many members the
	// looks of all together stay bounded: each member adds watchShare to the interval of all. Of 64 each looks every 0.75 s,
	// so that a death is still noticed within a second.
	watchInterval = 90 * time.Millisecond
	watchShare    = 10 * time.Millisecond

	// beatsPerTTL is the number of heartbeats that a member that is awake sends in one TTL.
	beatsPerTTL = 5

	// lookInterval is how often a member looks at the others at least, while it is awake, or while nothing tells it of changes.
	lookInterval = time.Second

	// awakeFor is how long a member stays awake after an event. By toldBefore the end of that, the others are told if its
	// handlers are still at work, so that they stay awake as well.
	awakeFor   = 3 * time.Second
	toldBefore = 1500 * time.Millisecond

	// At rest an elastic member sends a heartbeat every restInterval, or so often that one of two may be lost (restBeats); a
	// static one, from which nobody takes over, every staticInterval. All logs of one session together send logBeats a second, and
	// all members of one log memberBeats, as long as each need not wait for longer than memberInterval for that: a member that is
	// frozen keeps its partitions for two and a half times what it waits, 30 s.
	restInterval   = 2 * time.Second
	restBeats      = 2.5
	staticInterval = 12 * time.Second
	logBeats       = 20
	memberBeats    = 14
	memberInterval = 12 * time.Second // of more than 168 members, which together send a heartbeat each in that time
)

// rhythm is how often a Control sends what, at one moment.
type rhythm struct {
	awake    bool          // there may be something to lose
	beat     time.Duration // between two heartbeats, each of which is a look as well
	look     time.Duration // between two looks at least
	roll     bool          // the session is to call the roll in between
	validity time.Duration // of a heartbeat
}

// rhythm returns the rhythm of the moment, among logs of one session.
func (c *Control) rhythm(now time.Time, logs int) rhythm {
	ttl := c.cfg.TTL
	settled := c.cfg.Settled == nil || c.cfg.Settled()
	told := c.cfg.Told != nil && c.cfg.Told()
	if told != c.told { // what was told before is lost, and others are to see the mode
		c.told, c.beaten = told, time.Time{}
	}
	quick := watchInterval + time.Duration(c.Members())*watchShare
	r := rhythm{beat: ttl / beatsPerTTL, look: lookInterval, validity: ttl}
	r.awake = !settled || now.Before(c.dozes()) || c.busy() || c.othersWork
	switch elastic := !c.cfg.Static || !settled; {
	case r.awake && elastic && told:
		r.roll = true
	case r.awake && elastic:
		r.look = quick
	case !r.awake:
		r.beat = c.restBeat(logs, told)
		r.validity = max(ttl, time.Duration(restBeats*float64(r.beat)))
		if told {
			r.look = r.beat
		}
	}
	return r
}

// restBeat returns how often a heartbeat is sent at rest, among logs of one session. Who is not told of changes asks all the time,
// and need not save heartbeats.
func (c *Control) restBeat(logs int, told bool) time.Duration {
	beat := min(time.Duration(float64(c.cfg.TTL)/restBeats), restInterval)
	if c.cfg.Static {
		beat = staticInterval
	}
	if told {
		beat = max(beat, c.cfg.IdleInterval, min(time.Duration(c.Members())*time.Second/memberBeats, memberInterval))
	}
	return max(beat, time.Duration(logs)*time.Second/logBeats)
}

// beatEvery returns how soon after the last heartbeat the next one is due: by the rhythm, and before the last one ceases to be valid,
// which was sent in another.
func (c *Control) beatEvery(r rhythm) time.Duration {
	if c.validity == 0 { // none was sent yet
		return r.beat
	}
	return min(r.beat, time.Duration(float64(c.validity)/restBeats))
}

// busy reports whether the process has work in hand.
func (c *Control) busy() bool { return c.cfg.Busy != nil && c.cfg.Busy() }

// dozes returns when the process stops being awake if there is no other event and no work in hand.
func (c *Control) dozes() time.Time { return time.Unix(0, c.stirred.Load()).Add(awakeFor) }

// Stir tells that there is something to do in the log: an append, an event that was read, a try that is due. A process that
// was at rest looks at the members at once, so that what a dead one left behind is taken over. It does not wait.
func (c *Control) Stir() {
	now := time.Now().UnixNano()
	if before := c.stirred.Swap(now); now-before > int64(toldBefore) {
		c.session.nudge()
	}
}

// Look asks for a look at the membership now, because it may have changed or an operator has asked for something. Whoever
// waits for Changed is told even if it has not. It does not wait.
func (c *Control) Look() {
	c.asked.Store(true)
	c.session.nudge()
}

// IsAwake reports whether the membership is looked at often, because there may be something to lose.
func (c *Control) IsAwake() bool { return c.isAwake.Load() }
