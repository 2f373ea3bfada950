package await

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// Hub is where the calls of one process wait that share a pool. It has one connection to listen on, and makes one look for all calls
// that need one at the same time. Its methods may be called by many goroutines.
//
// It has two goroutines, for which Close waits: ear listens, and watch looks.
type Hub struct {
	pool   *db.Pool
	dialer *db.Dialer

	ctx    context.Context //nolint:containedctx // of the two goroutines; Close ends it
	cancel context.CancelFunc
	both   sync.WaitGroup
	kick   chan struct{} // wakes watch; buffered to 1

	mu      sync.Mutex // protects the fields below
	begun   bool       // the goroutines run
	closed  bool
	waiters map[string]map[*waiter]struct{} // by key
	known   map[string]*memory              // by key: the projections that were waited for lately
	clean   int64                           // the last event when the present connection began to hear
	events  uint32                          // the oid of the table of events; 0: not known yet
	hears   bool                            // a notification has arrived on the present connection
	conn    *pgx.Conn                       // the one that listens; nil: there is none
	looks   int                             // how many were made

	proving  bool      // a proof is to be sent that the connection delivers
	proof    string    // the one that was sent; "": none is under way
	proofBy  time.Time // when it must have arrived
	provenAt time.Time // when the last one has
}

// NewHub returns a Hub of the log that pool leads to. dialer opens the connection to listen on.
func NewHub(pool *db.Pool, dialer *db.Dialer) *Hub {
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub{
		pool: pool, dialer: dialer, ctx: ctx, cancel: cancel, kick: make(chan struct{}, 1),
		waiters: map[string]map[*waiter]struct{}{}, known: map[string]*memory{},
	}
}

// Close ends the waits that are under way, with an error, and waits for the goroutines.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.both.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.waiters {
		for w := range of {
			h.end(w, errClosed)
		}
	}
}

var errClosed = errors.New("rouse: the waiter was closed")

// Looks returns how often the database was looked at.
func (h *Hub) Looks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks
}

// Wait returns nil once target is reached, and an error that wraps ErrParked, ErrPaused, ErrStopped or ErrNoProjection if it will not be
// without an operator's doing something, or the error of ctx, with what was waited for.
func (h *Hub) Wait(ctx context.Context, target Target) error {
	w := &waiter{target: target, key: Key(target.Projection), done: make(chan error, 1), must: true}
	if err := h.enter(w); err != nil {
		return err
	}
	defer h.leave(w)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	h.mu.Lock()
	why := w.why
	h.mu.Unlock()
	if why == "" {
		why = "the database has not answered yet"
	}
	return fmt.Errorf("rouse: waited for projection %s: %w (%s)", target.Projection, context.Cause(ctx), why)
}

// enter takes w in. It hears replies from here on, before the first look.
func (h *Hub) enter(w *waiter) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	if h.waiters[w.key] == nil {
		h.waiters[w.key] = map[*waiter]struct{}{}
	}
	h.waiters[w.key][w] = struct{}{}
	now := time.Now()
	m := h.known[w.key]
	if m == nil {
		m = &memory{clean: h.clean}
		h.known[w.key] = m
	}
	m.used = now
	if h.hears && m.tells(w, now) {
		if m.prime(w, now) {
			h.end(w, nil)
			return nil
		}
	}
	if !h.begun {
		h.begun = true
		// Owned by Close.
		h.both.Go(h.ear)
		h.both.Go(h.watch)
	}
	h.wake()
	return nil
}

// leave forgets w.
func (h *Hub) leave(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(w)
}

// forget is leave for who holds the mutex.
func (h *Hub) forget(w *waiter) {
	delete(h.waiters[w.key], w)
	if len(h.waiters[w.key]) == 0 {
		delete(h.waiters, w.key)
	}
}

// end tells w the outcome. The caller holds the mutex.
func (h *Hub) end(w *waiter, err error) {
	h.forget(w)
	w.done <- err // which is received or not
}

// wake makes watch look what is due.
func (h *Hub) wake() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// watch looks when it is due, until the Hub is closed.
func (h *Hub) watch() {
	for h.ctx.Err() == nil {
		due, asks, next := h.due(time.Now())
		proof, proofBy := h.proofDue(time.Now(), len(asks) > 0)
		if len(due)+len(asks) == 0 && proof == "" {
			if !proofBy.IsZero() && proofBy.Before(next) {
				next = proofBy
			}
			h.rest(next)
			continue
		}
		if err := h.send(asks, proof); err != nil {
			h.failed(due, err)
			continue
		}
		h.look(due)
	}
}

// rest waits until a time, or for wake.
func (h *Hub) rest(until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-h.ctx.Done():
	case <-h.kick:
	case <-timer.C:
	}
}

// due takes the waiters that a look is due for, and returns what is to be asked first, and when to look again if there is nothing.
func (h *Hub) due(now time.Time) (due []*waiter, asks []ask, next time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next = now.Add(askAgain)
	for key, of := range h.waiters {
		m := h.known[key]
		first := now.Sub(m.asked) >= askAgain
		for w := range of {
			if !w.must && w.next.After(now) {
				if w.next.Before(next) {
					next = w.next
				}
				continue
			}
			// Whoever waits for events of some slot hears of the save that handles them, once a waiter has asked. The save says nothing of
			// the partitions of other workers, and an event that nobody wants is not saved at once.
			if first || w.looks > 0 || w.target.first() < 0 || w.looked {
				asks = append(asks, w.ask(h.hears))
				m.asked, first = now, false
			}
			w.looking, w.looks = true, w.looks+1
			due = append(due, w)
		}
	}
	for key, m := range h.known {
		switch {
		case now.Sub(m.asked) < askAgain:
		case now.Sub(m.used) < askAgain: // whoever comes next need not look
			asks = append(asks, ask{key: key, from: everything})
			m.asked = now
		case h.waiters[key] == nil:
			delete(h.known, key)
		}
	}
	if len(due) > 0 {
		h.looks++
	}
	return due, asks, next
}

// send sends asks, and the proof if it is not "".
func (h *Hub) send(asks []ask, proof string) error {
	if len(asks) == 0 && proof == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, db.Timeout)
	defer cancel()
	h.mu.Lock()
	events := h.events
	h.mu.Unlock()
	if events == 0 {
		if err := db.QueryRow(ctx, h.pool, []any{&events}, sqlEvents.For(h.pool)); err != nil {
			return err
		}
		h.mu.Lock()
		h.events = events
		h.mu.Unlock()
	}
	var channels, payloads []string
	for _, one := range asks {
		channels, payloads = append(channels, AsksChannel(events)), append(payloads, one.String())
	}
	if proof != "" {
		channels, payloads = append(channels, RepliesChannel(events)), append(payloads, proof)
	}
	return db.Exec(ctx, h.pool, sqlAsk.For(h.pool), channels, payloads)
}

// look looks for due, and tells those whose wait is over.
func (h *Hub) look(due []*waiter) {
	if len(due) == 0 {
		return
	}
	finds, err := h.find(due)
	if err != nil {
		h.failed(due, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for i, w := range due {
		if _, waits := h.waiters[w.key][w]; !waits {
			continue
		}
		over, err := w.saw(finds[i])
		if over {
			h.end(w, err)
			continue
		}
		w.next = now.Add(w.pause(h.hears))
	}
}

// failed ends the waits of due with err.
func (h *Hub) failed(due []*waiter, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range due {
		if _, waits := h.waiters[w.key][w]; waits {
			h.end(w, fmt.Errorf("rouse: look at projection %s: %w", w.target.Projection, err))
		}
	}
}

// find makes one look.
func (h *Hub) find(due []*waiter) ([]found, error) {
	ctx, cancel := context.WithTimeout(h.ctx, db.Timeout)
	defer cancel()
	n := len(due)
	names, slots, first, last := make([]string, n), make([]int32, n), make([]int64, n), make([]int64, n)
	h.mu.Lock()
	for i, w := range due {
		names[i], slots[i], first[i], last[i] = w.target.Projection, int32(w.target.Slot), w.target.first(), w.target.Last
	}
	h.mu.Unlock()
	var all []found
	err := db.Query(ctx, h.pool, func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
			err = row.Scan(&f.exists, &f.paused, &f.stopped, &f.resets, &f.partitions, &f.last, &f.behind, &f.hear, &f.low, &f.goesOn, &f.aside, &f.parked, &f.deferred)
			return f, err
		})
		return err
	}, sqlLook.For(h.pool), names, slots, first, last)
	if err == nil && len(all) != n {
		err = fmt.Errorf("await: %d rows for %d waiters", len(all), n)
	}
	return all, err
}

// heard takes in a reply.
func (h *Hub) heard(r reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.hears {
		return // what was said before may have been missed; everybody looks once the connection has proven itself
	}
	if m := h.known[r.key]; m != nil {
		m.hear(r)
	}
	must := false
	for w := range h.waiters[r.key] {
		if w.hear(r) {
			h.end(w, nil)
			continue
		}
		must = must || w.must && !w.looking
	}
	if must {
		h.wake()
	}
}

// again has everybody look again, because something has changed that no reply tells of.
func (h *Hub) again() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.known {
		m.forget()
	}
	for _, of := range h.waiters {
		for w := range of {
			w.must = true
		}
	}
	h.wake()
}
