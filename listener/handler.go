package listener

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgxlisten"
)

const (
	// torrentNap is how often the handler looks for the end of a torrent. It wakes no reader, for readers have pauses of
	// their own in a torrent.
	torrentNap = 100 * time.Millisecond

	// statementTimeout bounds everything that is sent through the listening connection.
	statementTimeout = 3 * time.Second
)

// handler is the only code that uses the listening connection, because pgxlisten reads nothing while a handler runs.
// pgxlisten calls it on one goroutine. There is one for each connection that is opened.
type handler struct {
	c  *Connection
	pl *pgxlisten.Listener // which calls the handler; handles is the one that may change it

	conn    *pgx.Conn // written by HandleBacklog
	ready   bool      // its settings are made
	shares  bool      // it listens to the probes of other processes
	present bool      // it holds the presence lock

	seats   map[*Listener]*seat
	hearing map[string][]*seat // by channel; those that it means something to
	looked  time.Time          // when look was last called
}

// seat is what a handler knows of one log.
type seat struct {
	l     *Listener
	wakes string // the channel of its wakes
	phase phase

	refused time.Time // when S was first refused, in phase refused
	again   time.Time // when it is tried again, in phase refused
	said    bool      // the log has the message that it cannot be armed
}

// phase is what is done for a log on the present connection.
type phase int

const (
	waiting phase = iota // for the next probe, to be armed
	refused              // S was refused; tried again within moments
	armed                // S is held
	torrent              // S was released until the log is calm
)

// newHandler returns the handler of the next connection of c, which pl will call.
func newHandler(c *Connection, pl *pgxlisten.Listener) *handler {
	return &handler{c: c, pl: pl, seats: map[*Listener]*seat{}, hearing: map[string][]*seat{}}
}

// HandleBacklog notes that conn has just begun to listen to the channel of the probes. It locks nothing yet and listens to
// nothing else: the connection may lead through a pooler, which the probe that it asks for will show.
func (h *handler) HandleBacklog(ctx context.Context, _ string, conn *pgx.Conn) error {
	h.conn = conn
	if err := conn.PgConn().Conn().SetDeadline(time.Time{}); err != nil {
		_ = conn.Close(ctx)
		return fmt.Errorf("listener: %w", err)
	}
	h.c.listens(conn)
	return nil
}

// HandleNotification handles one notification. While a log is in a torrent, or waits for S, it does not return and handles all
// others too. On an error it closes conn.
func (h *handler) HandleNotification(ctx context.Context, n *pgconn.Notification, conn *pgx.Conn) error {
	err := h.handle(ctx, n)
	if err != nil {
		// A handler's error is only logged by pgxlisten; a connection in an unknown state must go.
		_ = conn.Close(ctx)
	}
	return err
}

// handle handles n, and the torrents that it may have begun.
func (h *handler) handle(ctx context.Context, n *pgconn.Notification) error {
	if err := h.take(ctx, n); err != nil {
		return err
	}
	return h.rest(ctx)
}

// take handles one notification without waiting for another.
func (h *handler) take(ctx context.Context, n *pgconn.Notification) error {
	switch own, current := h.c.prober.takes(n); {
	case current:
		return h.round(ctx)
	case own:
		return nil
	}
	if n.PID != h.conn.PgConn().PID() {
		h.c.heard()
	}
	var fast []*seat
	for _, s := range h.hearing[n.Channel] {
		switch {
		case s.l.cfg.OnAsk != nil && n.Channel == s.l.cfg.AsksChannel:
			s.l.asked(n.Payload)
		case n.Channel != s.wakes:
			s.l.membersChanged()
		case s.phase != torrent: // in which readers read by themselves
			s.l.woken(n.Payload)
			if s.phase == armed && s.l.pressure.torrent() {
				fast = append(fast, s)
			}
		}
	}
	return h.release(ctx, fast, torrent)
}

// round goes over all logs when a probe has arrived, which proves that the connection delivers: only now may something be
// locked.
func (h *handler) round(ctx context.Context) error {
	h.c.proved()
	if err := h.prepare(ctx); err != nil {
		return err
	}
	if err := h.follow(ctx); err != nil {
		return err
	}
	if h.c.isFull() {
		// A queue that is full makes appends fail. Ours is not the process that fills it, but our sleep adds to it.
		if err := h.release(ctx, h.in(armed), waiting); err != nil {
			return err
		}
	} else if err := h.arm(ctx, h.in(waiting)); err != nil {
		return err
	}
	var fast []*seat
	for _, s := range h.in(armed) {
		if s.l.pressure.torrent() {
			fast = append(fast, s)
		}
	}
	if err := h.release(ctx, fast, torrent); err != nil {
		return err
	}
	h.settle()
	return nil
}

// settle tells the connection how it stands.
func (h *handler) settle() {
	if len(h.in(armed))+len(h.in(torrent)) == len(h.seats) || len(h.in(armed)) > 0 {
		h.c.good()
	}
	h.c.setUnsettled(!h.present || len(h.in(waiting)) > 0)
}

// in returns the seats in phase p.
func (h *handler) in(p phase) (seats []*seat) {
	for _, s := range h.seats {
		if s.phase == p {
			seats = append(seats, s)
		}
	}
	return seats
}

// prepare makes the settings of the session, once. A setting that the server refuses is only logged. It takes the presence
// lock, and tries again if an earlier try failed: the server may have believed for a while in the connection that this one
// replaces.
func (h *handler) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if !h.ready {
		if _, err := h.conn.Exec(ctx, sqlSettings); err != nil {
			if h.conn.IsClosed() {
				return fmt.Errorf("listener: set up the session: %w", err)
			}
			h.c.cfg.Log.Warn().Err(err).Msg("the server refuses a setting of the listening session; a cut network is noticed later")
		}
		h.ready = true
	}
	if h.present {
		return nil
	}
	if err := h.conn.QueryRow(ctx, sqlPresence, h.c.cfg.Presence).Scan(&h.present); err != nil {
		return fmt.Errorf("listener: take the presence lock: %w", err)
	}
	if h.present {
		h.c.isPresent(h.conn.PgConn().PID())
	}
	return nil
}

// follow takes seats for the logs that have entered, and gives up those of the logs that have left.
func (h *handler) follow(ctx context.Context) error {
	logs := h.c.all()
	stay := make(map[*Listener]bool, len(logs))
	var came, went []*seat
	for _, l := range logs {
		stay[l] = true
		if h.seats[l] == nil {
			came = append(came, &seat{l: l, wakes: l.cfg.Channel()})
		}
	}
	for l, s := range h.seats {
		if !stay[l] {
			went = append(went, s)
		}
	}
	if err := h.giveUp(ctx, went); err != nil {
		return err
	}
	return h.seat(ctx, came)
}

// giveUp releases S for seats, and stops to listen for them.
func (h *handler) giveUp(ctx context.Context, seats []*seat) error {
	var held []*seat
	for _, s := range seats {
		if s.phase == armed {
			held = append(held, s)
		}
	}
	if err := h.release(ctx, held, waiting); err != nil {
		return err
	}
	var unlisten strings.Builder
	for _, s := range seats {
		delete(h.seats, s.l)
		for _, channel := range s.channels() {
			if h.hearing[channel] = without(h.hearing[channel], s); len(h.hearing[channel]) == 0 {
				delete(h.hearing, channel)
				unlisten.WriteString("unlisten " + pgx.Identifier{channel}.Sanitize() + "; ")
			}
		}
	}
	return h.exec(ctx, unlisten.String())
}

// seat takes seats: it listens for all of them in one round trip, and with the first to the probes of other processes.
func (h *handler) seat(ctx context.Context, seats []*seat) error {
	var listen strings.Builder
	if !h.shares && len(seats) > 0 {
		listen.WriteString("listen " + sharedChannel + "; ")
		h.handles(sharedChannel)
	}
	for _, s := range seats {
		for _, channel := range s.channels() {
			if len(h.hearing[channel]) == 0 {
				listen.WriteString("listen " + pgx.Identifier{channel}.Sanitize() + "; ")
				h.handles(channel)
			}
			h.hearing[channel] = append(h.hearing[channel], s)
		}
		h.seats[s.l] = s
	}
	if err := h.exec(ctx, listen.String()); err != nil {
		return err
	}
	if len(seats) > 0 {
		h.shares = true
		h.c.setShared()
	}
	for _, s := range seats {
		s.l.membersChanged()
	}
	return nil
}

// handles makes pgxlisten pass on what comes from channel. Its map of handlers has no mutex, but it is read by this goroutine
// alone, between two calls of a handler.
func (h *handler) handles(channel string) {
	if h.pl != nil {
		h.pl.Handle(channel, h)
	}
}

// channels returns what is listened to for s.
func (s *seat) channels() []string {
	channels := []string{s.wakes}
	if s.l.cfg.OnMembers != nil {
		channels = append(channels, s.l.cfg.MembersChannel())
	}
	if s.l.cfg.OnAsk != nil {
		channels = append(channels, s.l.cfg.AsksChannel)
	}
	return channels
}

// without returns seats without s.
func without(seats []*seat, s *seat) []*seat {
	var rest []*seat
	for _, other := range seats {
		if other != s {
			rest = append(rest, other)
		}
	}
	return rest
}

// exec sends any number of statements in one round trip.
func (h *handler) exec(ctx context.Context, statements string) error {
	if statements == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := h.conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		return fmt.Errorf("listener: listen: %w", err)
	}
	return nil
}

// rest handles what comes while a log is in a torrent, where readers read by themselves and no writer pays for a push, or waits
// for S.
func (h *handler) rest(ctx context.Context) error {
	for h.restless() {
		n, err := h.nap(ctx)
		if err != nil {
			return err
		}
		if n != nil {
			if err := h.take(ctx, n); err != nil {
				return err
			}
		}
		if err := h.look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restless reports whether a log is in a torrent or waits for S.
func (h *handler) restless() bool {
	for _, s := range h.seats {
		if s.phase == torrent || s.phase == refused {
			return true
		}
	}
	return false
}

// nap waits for a notification until it is time to look. So it drains the socket, and notices the connection's end.
func (h *handler) nap(ctx context.Context) (*pgconn.Notification, error) {
	until := h.looked.Add(torrentNap)
	for _, s := range h.in(refused) {
		if s.again.Before(until) {
			until = s.again
		}
	}
	napCtx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	n, err := h.conn.WaitForNotification(napCtx)
	switch {
	case err == nil:
		return n, nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || h.conn.IsClosed():
		return nil, fmt.Errorf("listener: wait in a torrent: %w", err)
	}
	return nil, nil
}

// look arms the logs whose torrent is over, and tries again where S was refused.
func (h *handler) look(ctx context.Context) error {
	now := time.Now()
	var ready []*seat
	for _, s := range h.in(refused) {
		if !s.again.After(now) {
			ready = append(ready, s)
		}
	}
	if now.Sub(h.looked) >= torrentNap {
		h.looked = now
		for _, s := range h.in(torrent) {
			if s.l.pressure.calm() {
				ready = append(ready, s)
			}
		}
	}
	if len(ready) == 0 {
		return nil
	}
	defer h.settle()
	if h.c.isFull() {
		for _, s := range ready {
			s.to(waiting)
		}
		return nil
	}
	return h.arm(ctx, ready)
}

// to changes the phase of s to one in which its readers poll.
func (s *seat) to(p phase) {
	s.phase = p
	if s.l.mode() != Polling {
		s.l.setMode(Polling)
	}
}
