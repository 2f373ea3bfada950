package listener

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// restInterval and probeTimeout add up to the longest time that a deaf connection goes unnoticed, with a second to
	// spare below the ten that are promised.
	restInterval = 7 * time.Second
	probeTimeout = 2 * time.Second

	// triesInterval is between two probes where something is to be tried again with the next one.
	triesInterval = 4 * time.Second

	// maxPostponed is how long the notifications of others may stand in for a probe, which also looks at the server's queue. Each
	// member adds memberPostponed, so that all of them together look once a second at most.
	maxPostponed    = 28 * time.Second
	memberPostponed = time.Second

	// roundInterval is how often the loop goes round at least, for those who watch that it does.
	roundInterval = 4 * time.Second

	// probeRetry is the pause after a probe that could not be sent, such as when all connections of the pool were dropped.
	probeRetry = 100 * time.Millisecond

	// S is released when the server's notification queue is fuller than fullAbove, and taken again below fullBelow.
	fullAbove = 0.5
	fullBelow = 0.25
)

// atRest returns the time between two probes of a connection on which nothing happens.
func (c *Connection) atRest() time.Duration {
	if c.cfg.ProbeInterval > 0 {
		return c.cfg.ProbeInterval
	}
	return restInterval
}

// provenFor returns how long a proof is valid: two missed probes and a timeout.
func (c *Connection) provenFor() time.Duration { return 2*c.atRest() + probeTimeout }

// prober sends notifications to the listening connection from another one and waits for their arrival.
type prober struct {
	c       *Connection
	named   string        // channel, which every notification is compared with
	fresh   chan struct{} // sent by connected: a connection has been opened; buffered to 1, only the latest matters
	kicked  chan struct{} // sent by kick: the handler has something to do; buffered to 1, one probe is enough for all
	arrival chan struct{} // sent by arrived: the current probe has arrived; buffered to 1 so that the handler never waits

	silent bool      // the log has the message that nothing arrives; for run's goroutine alone
	sentAt time.Time // when the last probe was sent; for run's goroutine alone

	late time.Duration // lateness, for it never changes

	mu     sync.Mutex // protects the fields below
	number int64      // of the current probe
	leads  bool       // the last shared probe that has arrived was this process's
}

// init makes p the prober of c.
func (p *prober) init(c *Connection) {
	p.c, p.named = c, "rouse_probe_"+strings.ReplaceAll(c.cfg.Instance, "-", "")
	p.fresh = make(chan struct{}, 1)
	p.kicked = make(chan struct{}, 1)
	p.arrival = make(chan struct{}, 1)
	p.late = lateness()
}

// channel returns the name of the probe's own channel, so that a probe wakes no other process.
func (p *prober) channel() string { return p.named }

// connected asks for a probe, because a new connection listens to the probe's channel.
func (p *prober) connected() {
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

// kick asks for a probe, because the handler, which alone may use the connection, goes over its logs when one arrives. Without
// a connection it is not needed: the first probe of the next one does it.
func (p *prober) kick() {
	select {
	case p.kicked <- struct{}{}:
	default:
	}
}

// arrived reports whether payload is the current probe's number, and signals its arrival.
func (p *prober) arrived(payload string) bool {
	p.mu.Lock()
	current := payload == strconv.FormatInt(p.number, 10)
	p.mu.Unlock()
	if current {
		select {
		case p.arrival <- struct{}{}:
		default:
		}
	}
	return current
}

// run probes after every connect, after every kick and when it is due, until ctx is cancelled.
func (p *prober) run(ctx context.Context) {
	timer := time.NewTimer(roundInterval)
	defer timer.Stop()
	for {
		p.c.tick()
		now, shared := true, false
		select {
		case <-ctx.Done():
			return
		case <-p.fresh:
		case <-p.kicked:
		case <-timer.C:
			now, shared = p.due() <= 0, p.c.isShared()
		}
		pause := probeRetry
		switch {
		case p.c.connection() == nil:
			pause = roundInterval
		case !now || p.probe(ctx, shared):
			pause = min(max(p.due(), probeRetry), roundInterval)
		}
		timer.Reset(pause)
	}
}

// due returns when the next probe is due, from now on. A notification of another process that has arrived says the same as a probe,
// but for a time only.
func (p *prober) due() time.Duration {
	interval := p.c.atRest()
	p.c.mu.Lock()
	proven, unsettled := p.c.provenAt, p.c.unsettled || p.c.full
	p.c.mu.Unlock()
	at := p.sentAt.Add(interval)
	if p.c.isShared() && p.follows() {
		interval += p.late
	}
	if unsettled {
		if p.c.cfg.ProbeInterval <= 0 {
			at = p.sentAt.Add(triesInterval)
		}
	} else if later := proven.Add(interval); later.After(at) {
		at = later
		if latest := p.sentAt.Add(max(interval, p.c.postponed())); latest.Before(at) {
			at = latest
		}
	}
	return time.Until(at)
}

// probe sends one probe, a shared one or one to this process alone, and waits for its arrival; sent is false if it could not be sent.
// A probe that cannot be sent proves nothing about the listener, neither does one whose connection has been replaced meanwhile.
func (p *prober) probe(ctx context.Context, shared bool) (sent bool) {
	conn := p.c.connection()
	p.sentAt = time.Now()
	p.mu.Lock()
	p.number++
	number := p.number
	p.mu.Unlock()
	// Drop the late arrival of an earlier probe.
	select {
	case <-p.arrival:
	default:
	}
	if err := p.send(ctx, number, shared); err != nil {
		if ctx.Err() == nil {
			p.c.cfg.Log.Debug().Err(err).Msg("cannot send a probe")
		}
		p.sentAt = time.Time{} // due as before
		return false
	}
	timeout := time.NewTimer(probeTimeout)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
	case <-p.arrival:
		p.silent = false
	case <-p.fresh:
		p.connected() // the next probe is due at once
	case <-timeout.C:
		if conn != nil && conn == p.c.connection() {
			p.missed(conn)
		}
	}
	return true
}

// send sends probe number, and takes in how full the notification queue is.
func (p *prober) send(ctx context.Context, number int64, shared bool) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	channel, payload := p.channel(), strconv.FormatInt(number, 10)
	if shared {
		channel, payload = sharedChannel, p.c.cfg.Instance+"/"+payload
	}
	var usage float64
	err := p.c.cfg.Pool.QueryRow(ctx, sqlProbe, channel, payload).Scan(nil, &usage)
	if err != nil {
		return err
	}
	switch {
	case usage > fullAbove && !p.c.isFull():
		p.c.cfg.Log.Error().Float64("queue_usage", usage).
			Msg("the server's notification queue is filling up, and when it is full appends fail: a session listens inside a long transaction (see pg_stat_activity); polling until it drains")
		p.c.setFull(true)
	case usage < fullBelow:
		p.c.setFull(false)
	}
	return nil
}

// missed logs that conn delivers nothing, and closes it.
func (p *prober) missed(conn *pgx.Conn) {
	if p.c.isProven() {
		p.c.cfg.Log.Warn().Msg("the listening connection is deaf: a notification sent from another connection did not arrive; connecting again")
	} else if !p.silent {
		p.silent = true
		p.c.cfg.Log.Warn().Msg("LISTEN delivers nothing through this URL, as behind a transaction pooler: polling every second or faster; set ROUSE_LISTEN_URL to a direct connection")
	}
	p.c.drop(conn)
}
