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
	// probeInterval and probeTimeout add up to the longest time that a deaf connection goes unnoticed, with a second to
	// spare below the ten that are promised.
	probeInterval = 4 * time.Second
	probeTimeout  = 2 * time.Second

	// probeRetry is the pause after a probe that could not be sent, such as when all connections of the pool were dropped.
	probeRetry = 100 * time.Millisecond

	// provenFor is how long a proof is good for: two missed probes and their timeouts.
	provenFor = 2*probeInterval + probeTimeout

	// Above fullAbove of the server's notification queue S is released, and taken again below fullBelow.
	fullAbove = 0.5
	fullBelow = 0.25
)

// prober sends notifications to the listening connection from another one and waits for them to arrive.
type prober struct {
	l       *Listener
	fresh   chan struct{} // a connection has been opened; buffered to 1, only the latest matters
	arrival chan struct{} // the current probe has arrived; buffered to 1 so that the handler never waits

	silent bool // that nothing arrives has been said; only run's goroutine looks

	mu     sync.Mutex // protects number
	number int64
}

func (p *prober) init(l *Listener) {
	p.l = l
	p.fresh = make(chan struct{}, 1)
	p.arrival = make(chan struct{}, 1)
}

// channel is the probe's own, so that a probe wakes no other process.
func (p *prober) channel() string {
	return p.l.cfg.Channel() + "_" + strings.ReplaceAll(p.l.cfg.Instance, "-", "")
}

// connected is told that a new connection listens to the probe's channel.
func (p *prober) connected() {
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

// arrived tells whether a payload is the current probe's.
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

// run probes at every connect and then at an interval, until ctx is cancelled.
func (p *prober) run(ctx context.Context) {
	timer := time.NewTicker(probeInterval)
	defer timer.Stop()
	for {
		p.l.tick()
		select {
		case <-ctx.Done():
			return
		case <-p.fresh:
		case <-timer.C:
			if p.l.connection() == nil {
				continue
			}
		}
		if p.probe(ctx) {
			timer.Reset(probeInterval)
		} else {
			timer.Reset(probeRetry)
		}
	}
}

// probe sends one and waits for it; it tells whether it was sent. Not being able to send proves nothing about the listener,
// but it is no proof either. Nor is a probe about a connection that has taken the place of the one it was sent to.
func (p *prober) probe(ctx context.Context) (sent bool) {
	conn := p.l.connection()
	p.mu.Lock()
	p.number++
	number := p.number
	p.mu.Unlock()
	select { // an arrival that nobody waited for any more
	case <-p.arrival:
	default:
	}
	if err := p.send(ctx, number); err != nil {
		if ctx.Err() == nil {
			p.l.cfg.Log.Debug().Err(err).Msg("cannot send a probe")
		}
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
		if conn != nil && conn == p.l.connection() && !unprobed {
			p.missed(conn)
		}
	}
	return true
}

func (p *prober) send(ctx context.Context, number int64) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var usage float64
	err := p.l.cfg.Pool.QueryRow(ctx, sqlProbe, p.channel(), strconv.FormatInt(number, 10)).Scan(nil, &usage)
	if err != nil {
		return err
	}
	switch {
	case usage > fullAbove && !p.l.isFull():
		p.l.cfg.Log.Error().Float64("queue_usage", usage).
			Msg("the server's notification queue is filling up, and when it is full appends fail: a session listens inside a long transaction (see pg_stat_activity); polling until it drains")
		p.l.setFull(true)
	case usage < fullBelow:
		p.l.setFull(false)
	}
	return nil
}

func (p *prober) missed(conn *pgx.Conn) {
	if p.l.State().Proven {
		p.l.cfg.Log.Warn().Msg("the listening connection is deaf: a notification sent from another connection did not arrive; connecting again")
	} else if !p.silent {
		p.silent = true
		p.l.cfg.Log.Warn().Msg("LISTEN delivers nothing through this URL, as behind a transaction pooler: polling every second or faster; set ROUSE_LISTEN_URL to a direct connection")
	}
	p.l.deaf(conn)
}
