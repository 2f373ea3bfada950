package listener

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// ProbeTimeout is probeTimeout.
const ProbeTimeout = probeTimeout

// Handler is the handler, for the tests that drive it step by step on a connection of their own.
type Handler struct {
	h *handler
	s *seat
}

// NewHandler makes the handler of a listener for a connection that is known to deliver. Run must not be called.
func NewHandler(l *Listener, conn *pgx.Conn) *Handler {
	h := newHandler(l.c, nil)
	s := &seat{l: l, wakes: l.cfg.Channel()}
	h.conn, h.seats[l] = conn, s
	l.setEntered(true)
	return &Handler{h: h, s: s}
}

// Prepare makes the settings of the connection and takes the presence lock.
func (h *Handler) Prepare(ctx context.Context) error { return h.h.prepare(ctx) }

// Arm takes S and looks at the head. It tries again as the handler does, but hears nothing meanwhile.
func (h *Handler) Arm(ctx context.Context) error {
	err := h.h.arm(ctx, []*seat{h.s})
	for err == nil && h.s.phase == refused {
		<-time.After(time.Until(h.s.again))
		err = h.h.look(ctx)
	}
	if err == nil && h.s.phase != armed {
		err = errRefused
	}
	return err
}

// ErrRefused is what Arm returns where another session holds S alone.
var ErrRefused = errRefused

// Disarm releases S.
func (h *Handler) Disarm(ctx context.Context) error {
	return h.h.release(ctx, []*seat{h.s}, waiting)
}

// Probe asks for a probe at once.
func (l *Listener) Probe() { l.c.prober.connected() }

// ProvenAt is when the last notification from another connection arrived.
func (l *Listener) ProvenAt() time.Time {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.provenAt
}

// Entered is the number of logs that have entered.
func (c *Connection) Entered() int { return len(c.all()) }

// Pressed reports whether the log was ever woken, as its pressure sees it.
func (l *Listener) Pressed() bool {
	l.pressure.mu.Lock()
	defer l.pressure.mu.Unlock()
	return l.pressure.wakes > 0
}
