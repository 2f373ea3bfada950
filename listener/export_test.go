package listener

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Handler is the handler, for the tests that drive it step by step on a connection of their own.
type Handler struct{ h *handler }

// NewHandler makes the handler of a listener for a connection that is known to deliver. Run must not be called.
func NewHandler(l *Listener, conn *pgx.Conn) *Handler {
	return &Handler{h: &handler{l: l, conn: conn, ready: true}}
}

// Prepare makes the settings of the connection and takes the presence lock.
func (h *Handler) Prepare(ctx context.Context) error { return h.h.prepare(ctx) }

// Arm takes S and looks at the head.
func (h *Handler) Arm(ctx context.Context) error { return h.h.arm(ctx) }

// Disarm releases S.
func (h *Handler) Disarm(ctx context.Context) error { return h.h.disarm(ctx) }

// Probe asks for a probe at once.
func (l *Listener) Probe() { l.prober.connected() }

// ProvenAt is when the last probe arrived.
func (l *Listener) ProvenAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.provenAt
}
