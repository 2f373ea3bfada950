package listener

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// torrentNap is how often a torrent's end is looked for. It wakes nobody, for readers have pauses of their own in a torrent.
	torrentNap = 100 * time.Millisecond

	// armTimeout bounds the statements that arm and disarm.
	armTimeout = 3 * time.Second
)

// handler is the only code that uses the listening connection, because pgxlisten reads nothing while a handler runs.
type handler struct {
	l     *Listener
	conn  *pgx.Conn // the connection that the fields below are about
	ready bool      // its settings are made
	armed bool      // it holds S

	present bool // it holds the presence lock
}

// HandleBacklog is called when a connection has just begun to listen to a channel. Nothing is locked yet: it may lead through
// a pooler. The probe that this asks for will tell.
func (h *handler) HandleBacklog(_ context.Context, channel string, conn *pgx.Conn) error {
	h.conn, h.ready, h.armed, h.present = conn, false, false, false
	if channel == h.l.prober.channel() {
		h.l.prober.connected()
	}
	return nil
}

// HandleNotification takes a wake or a probe. It also runs the torrents, which are a wait inside a handler.
func (h *handler) HandleNotification(ctx context.Context, n *pgconn.Notification, conn *pgx.Conn) error {
	err := h.handle(ctx, n)
	if err != nil {
		// A handler's error is only logged by pgxlisten; a connection in an unknown state must go.
		_ = conn.Close(ctx)
	}
	return err
}

func (h *handler) handle(ctx context.Context, n *pgconn.Notification) error {
	if err := h.take(ctx, n); err != nil {
		return err
	}
	if h.armed && h.l.pressure.torrent() {
		return h.torrent(ctx)
	}
	return nil
}

// take handles one notification without waiting for another.
func (h *handler) take(ctx context.Context, n *pgconn.Notification) error {
	if n.Channel != h.l.prober.channel() {
		h.l.mu.Lock()
		h.l.state.LastWake = time.Now()
		h.l.mu.Unlock()
		h.l.pressure.woken(h.l.cfg.members(), time.Now())
		h.l.hub.broadcast(push)
		return nil
	}
	if !h.l.prober.arrived(n.Payload) {
		return nil
	}
	if err := h.proved(ctx); err != nil {
		return err
	}
	switch full := h.l.isFull(); {
	case full && h.armed:
		// A queue that is full makes appends fail. Ours is not the process that fills it, but our sleep adds to it.
		if err := h.disarm(ctx); err != nil {
			return err
		}
		h.l.setMode(Polling)
	case !full && !h.armed:
		return h.arm(ctx)
	}
	return nil
}

// arm takes S and looks at the head, in this order, and tells the readers up to where they must see things settled before
// they sleep. The first time on a connection it also makes its settings and takes the presence lock.
func (h *handler) arm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, armTimeout)
	defer cancel()
	if !h.ready {
		if err := h.prepare(ctx); err != nil {
			return err
		}
	}
	var batch pgx.Batch
	batch.Queue("select set_config('lock_timeout', '2s', false)")
	batch.Queue(sqlArm, h.l.cfg.lockKey())
	batch.Queue(sqlArmedHead, int64(h.l.cfg.Sequence))
	results := h.conn.SendBatch(ctx, &batch)
	defer func() { _ = results.Close() }()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("listener: arm: %w", err)
		}
	}
	var head int64
	if err := results.QueryRow().Scan(&head); err != nil {
		return fmt.Errorf("listener: arm: %w", err)
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("listener: arm: %w", err)
	}
	if unsettled {
		head = 0
	}
	h.armed = true
	h.l.armed(head)
	return nil
}

func (h *handler) prepare(ctx context.Context) error {
	if _, err := h.conn.Exec(ctx, sqlSettings); err != nil {
		if h.conn.IsClosed() {
			return fmt.Errorf("listener: set up the session: %w", err)
		}
		h.l.cfg.Log.Warn().Err(err).Msg("the server refuses a setting of the listening session; a cut network is noticed later")
	}
	h.ready = true
	return h.presence(ctx)
}

// proved notes that the connection delivers. With every proof it tries again to take the presence lock if it could not have
// it so far: the server may have believed for a while in the connection that this one replaces.
func (h *handler) proved(ctx context.Context) error {
	h.l.proved()
	if !h.ready || h.present {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, armTimeout)
	defer cancel()
	return h.presence(ctx)
}

func (h *handler) presence(ctx context.Context) error {
	if err := h.conn.QueryRow(ctx, sqlPresence, h.l.cfg.Presence).Scan(&h.present); err != nil {
		return fmt.Errorf("listener: take the presence lock: %w", err)
	}
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	h.l.state.Present = h.present
	return nil
}

func (h *handler) disarm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, armTimeout)
	defer cancel()
	if _, err := h.conn.Exec(ctx, sqlDisarm, h.l.cfg.lockKey()); err != nil {
		return fmt.Errorf("listener: release the sleeper's lock: %w", err)
	}
	h.armed = false
	return nil
}

// torrent releases S, so that no writer pays for a push, until it is calm: readers look by themselves meanwhile. Waiting for a notification is its sleep: that drains the socket, notices the connection's end, and still takes probes.
func (h *handler) torrent(ctx context.Context) error {
	if err := h.disarm(ctx); err != nil {
		return err
	}
	h.l.setMode(Torrent)
	for !h.l.pressure.calm() {
		if err := h.nap(ctx); err != nil {
			return err
		}
	}
	if h.l.isFull() {
		h.l.setMode(Polling)
		return nil
	}
	return h.arm(ctx)
}

func (h *handler) nap(ctx context.Context) error {
	napCtx, cancel := context.WithTimeout(ctx, torrentNap)
	defer cancel()
	n, err := h.conn.WaitForNotification(napCtx)
	switch {
	case err == nil && n.Channel == h.l.prober.channel():
		if h.l.prober.arrived(n.Payload) {
			return h.proved(ctx)
		}
	case err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || h.conn.IsClosed()):
		return fmt.Errorf("listener: wait in a torrent: %w", err)
	}
	return nil
}
