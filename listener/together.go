package listener

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Of many processes that listen in one database, one probes for all. A connection that has proven to be a direct one listens to
// sharedChannel too, and what arrives there from another process says what its own probe would. Nobody is elected: whoever sent the
// last one, in the order in which the server delivers them to all, sends the next; if none comes the others are late by as much as
// each has chosen for itself, and the first of them goes on. Whoever hears nothing sends a probe as soon as it would by itself, or
// lateness later, and is deaf if that does not arrive.
const (
	sharedChannel = "rouse_probes"

	// How late a process is with its probe if another one leads. With restInterval and probeTimeout it is below ten seconds.
	leastLate = 200 * time.Millisecond
	mostLate  = 700 * time.Millisecond
)

// lateness returns how late a process is if another one leads.
func lateness() time.Duration { return leastLate + rand.N(mostLate-leastLate) } //nolint:gosec // it only spreads them

// takes reports whether n is a probe of this process, and whether it is the current one, whose arrival it signals. Of a shared probe
// it notes who leads.
func (p *prober) takes(n *pgconn.Notification) (own, current bool) {
	switch n.Channel {
	case p.channel():
		return true, p.arrived(n.Payload)
	case sharedChannel:
		instance, number, _ := strings.Cut(n.Payload, "/")
		own = instance == p.c.cfg.Instance
		p.mu.Lock()
		p.leads = own
		p.mu.Unlock()
		return own, own && p.arrived(number)
	}
	return false, false
}

// follows reports whether another process sent the last shared probe that has arrived.
func (p *prober) follows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.leads
}

// isShared reports whether the connection listens to the probes of others, and this process need not probe for itself: nothing
// is to be tried again with the next one.
func (c *Connection) isShared() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared && !c.unsettled && !c.full
}

// setShared notes that the connection listens to the probes of others.
func (c *Connection) setShared() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared = true
}

// postponed returns for how long the notifications of others may stand in for a probe.
func (c *Connection) postponed() time.Duration {
	members := 0
	for _, l := range c.all() {
		members = max(members, l.cfg.members())
	}
	return max(maxPostponed, time.Duration(members)*memberPostponed)
}
