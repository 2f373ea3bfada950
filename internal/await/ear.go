package await

import (
	"context"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/randid"
)

const (
	// earTimeout bounds every statement on the listening connection.
	earTimeout = 3 * time.Second

	// proofTimeout is how long a notification of our own may take to come back. Where none does, the connection leads to a pooler.
	proofTimeout = 3 * time.Second

	// proofPrefix marks a notification that proves that the connection delivers.
	proofPrefix = "? "
)

// ear listens, on one connection after the other, until the Hub is closed.
func (h *Hub) ear() {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever; meanwhile the waiters look by themselves
	)
	pauses.Reset()
	for h.ctx.Err() == nil {
		if h.listen() {
			pauses.Reset()
		}
		h.deaf()
		select {
		case <-h.ctx.Done():
		case <-time.After(pauses.NextBackOff()):
		}
	}
}

// listen listens on one connection until it is lost, and reports whether it has ever delivered anything.
func (h *Hub) listen() (delivered bool) {
	var events uint32
	ctx, cancel := context.WithTimeout(h.ctx, earTimeout)
	defer cancel()
	if err := db.QueryRow(ctx, h.pool, []any{&events}, sqlEvents.For(h.pool)); err != nil {
		return false
	}
	conn, err := h.dialer.Dial(h.ctx, nil)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	ctx, cancelListen := context.WithTimeout(h.ctx, earTimeout)
	defer cancelListen()
	replies, members := RepliesChannel(events), channel(events, "members")
	sql := "listen " + pgx.Identifier{replies}.Sanitize() + "; listen " + pgx.Identifier{members}.Sanitize()
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return false
	}
	// What was handled before it listened was appended before.
	var last int64
	if err := db.QueryRow(ctx, h.pool, []any{&last}, sqlLast.For(h.pool)); err != nil {
		return false
	}
	h.mu.Lock()
	h.events, h.conn, h.clean = events, conn, last
	h.mu.Unlock()
	h.prove()
	for {
		n, err := conn.WaitForNotification(h.ctx)
		if err != nil {
			return delivered
		}
		switch {
		case n.Channel == members: // an operator may have paused, resized, reset or dropped, or a worker joined
			h.again()
		case strings.HasPrefix(n.Payload, proofPrefix):
			delivered = h.proved(n.Payload) || delivered
		default:
			if r, err := parseReply(n.Payload); err == nil {
				h.heard(r)
			}
		}
	}
}

// prove asks for a proof that the connection delivers.
func (h *Hub) prove() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proof, h.proofBy = "", time.Time{}
	h.proving = true
	h.wake()
}

// proofDue returns the proof that is to be sent, "" if none is, and when the one that is under way must have arrived. Where one has not,
// the connection is closed. asking: something is asked, so that it matters whether the answer will be heard.
func (h *Hub) proofDue(now time.Time, asking bool) (proof string, by time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.conn == nil:
	case h.proof != "" && !now.Before(h.proofBy):
		_ = h.conn.PgConn().Conn().Close() // the one thing that may be done to it from here; ear notices
		h.conn = nil
	case h.proof != "":
		by = h.proofBy
	case h.proving || asking && now.Sub(h.provenAt) >= askAgain:
		h.proving, h.proof, h.proofBy = false, proofPrefix+randid.Hex(16), now.Add(proofTimeout)
		proof = h.proof
	}
	return proof, by
}

// proved takes in that a proof has come back, and reports whether it is the one of the present connection. Whoever waits looks again:
// what was replied before was not heard.
func (h *Hub) proved(payload string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if payload != h.proof {
		return false
	}
	first := !h.hears
	h.hears, h.proof, h.provenAt = true, "", time.Now()
	if !first {
		return true
	}
	for key, m := range h.known {
		h.known[key] = &memory{used: m.used, clean: h.clean}
	}
	for _, of := range h.waiters {
		for w := range of {
			w.again()
		}
	}
	h.wake()
	return true
}

// deaf notes that there is no connection.
func (h *Hub) deaf() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hears, h.proof, h.proving, h.conn = false, "", false, nil
	for _, of := range h.waiters {
		for w := range of {
			w.must, w.looks = true, 0
		}
	}
	h.wake()
}
