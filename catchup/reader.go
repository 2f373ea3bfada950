package catchup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
)

// ReadTimeout bounds one read. A window is at most maxWindow rows wide, which a cold disk reads in a few seconds.
const ReadTimeout = 30 * time.Second

var readTimeoutSetting = fmt.Sprintf("%dms", ReadTimeout.Milliseconds())

const (
	minWindow = 1 << 16 // positions looked through by one read, to begin with
	maxWindow = 1 << 20 // doubled up to here while nothing is found: about 0.3 s of filtering in memory
)

// maxExpected bounds the room that is made for events before they are there.
const maxExpected = 1000

// Reader reads the log from a cursor on, for some slots. It is for one goroutine at a time.
type Reader struct {
	pool   *pgxpool.Pool
	log    Log
	token  Token
	slots  SlotSet
	full   bool
	only   Types
	after  int64
	window int64

	// As the last full look saw them. Nothing up to settled can be added any more for as long as the incarnation lives.
	settled int64
	holders int
	push    bool

	scanner  eventstore.Scanner
	expected int // how many events the next read may find: one more than the last
}

// Types are the events that a reader wants of its slots. The zero value is all of them.
type Types struct {
	Events, Aggregates []string // none: all
}

func (t Types) all() bool { return len(t.Events) == 0 && len(t.Aggregates) == 0 }

// NewReader starts after a position, for some slots, in one incarnation of the database.
func NewReader(pool *pgxpool.Pool, log Log, token Token, slots SlotSet, after int64) *Reader {
	return &Reader{pool: pool, log: log, token: token, slots: slots, full: slots.Full(), after: after, window: minWindow}
}

// Only makes Next leave out what is of other types, which the server then does not send.
func (r *Reader) Only(types Types) { r.only = types }

// Turn makes the reader go on from another position, or for other slots.
func (r *Reader) Turn(after int64, slots SlotSet) {
	if after != r.after {
		r.after, r.window = after, minWindow
	}
	if slots != r.slots {
		r.slots, r.full = slots, slots.Full()
	}
}

var errNoHead = fmt.Errorf("%w: it shows no value although there are events (run: grant select on its sequence to this role)", ErrSequence)

// Batch is what one read found. Everything in (From, To] that belongs to the reader's slots and types is in Events, in order,
// and nothing in that range will ever be added.
type Batch struct {
	Events   []eventstore.Event
	From, To int64

	// Head is the highest position given out and Settled the horizon, both as this read saw them; Holders is how many
	// transactions held K.
	Head, Settled int64
	Holders       int

	// More means that there is more to read at once. Blocked means that committed events wait behind a hole that an open
	// append may still fill: read again soon, for nothing will notify when that append rolls back.
	More, Blocked bool

	// Glanced means that the batch comes from a Glance.
	Glanced bool

	// Partial means that events of the reader's slots were left out because of their types.
	Partial bool

	// Push tells whether the push trigger stood. Without it nothing wakes a reader.
	Push bool
}

// Next reads up to limit events after the cursor and moves the cursor to the end of what it has looked through. Up to the
// horizon that an earlier look has seen it reads without looking at the locks again, which costs as much as some hundred events.
func (r *Reader) Next(ctx context.Context, limit int) (Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	upTo, locks := r.after+r.window, true
	if r.after < r.settled {
		upTo, locks = min(upTo, r.settled), false
	}
	found, err := r.read(ctx, upTo, limit, locks)
	if errors.Is(err, errNoHead) { // the first event of the log may have come between the two looks
		found, err = r.read(ctx, upTo, limit, locks)
	}
	if err != nil {
		return Batch{}, err
	}
	switch {
	case found.head < r.after:
		return Batch{}, fmt.Errorf("%w: its head is %d and the checkpoint %d", ErrLogBehind, found.head, r.after)
	case found.head < r.settled:
		return Batch{}, fmt.Errorf("%w: its head is %d and was %d", ErrLogBehind, found.head, r.settled)
	}
	if !locks {
		found.lowWater, found.holders, found.push = &r.settled, r.holders, r.push
	}
	b := found.batch(r.after, upTo, limit)
	r.settled, r.holders, r.push = max(r.settled, b.Settled), b.Holders, b.Push
	b.Partial = !r.only.all()
	if err := r.leap(ctx, &b, upTo); err != nil {
		return Batch{}, err
	}
	r.after = b.To
	return b, nil
}

// leap widens the window while there is nothing in it, and jumps over stretches where there are no events at all.
func (r *Reader) leap(ctx context.Context, b *Batch, upTo int64) error {
	switch {
	case len(b.Events) > 0:
		r.window = minWindow
	case b.To == upTo && r.window < maxWindow:
		r.window *= 2
	case b.To == upTo:
		var next *int64
		if err := r.pool.QueryRow(ctx, sqlNext, b.To).Scan(&next); err != nil {
			return fmt.Errorf("catchup: look for the next event: %w", err)
		}
		// Settled was read before this, so up to there nothing can appear any more.
		b.To = b.Settled
		if next != nil && *next <= b.Settled {
			b.To = *next - 1
		}
	}
	return nil
}

// Glance is a quicker look for a reader that had read everything: head and events, without the look at the locks, which costs as
// much as all the rest. They may share a snapshot, for nothing is concluded from what is not there. If what it finds is contiguous
// up to the head, there is no hole that anybody could fill, so it may be handed out, and the cursor moves. Otherwise it changes
// nothing and ok is false. Either way a Next should follow soon: it looks at the triggers, and at what is open.
func (r *Reader) Glance(ctx context.Context) (b Batch, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	var batch pgx.Batch // one transaction all the same: it begins with the first statement and ends with the last
	batch.Queue(sqlHead, int64(r.log.Sequence), readTimeoutSetting)
	batch.Queue(sqlGlance, r.after)
	found, err := r.exchange(ctx, &batch, func(results pgx.BatchResults) (reading, error) { return r.collect(results, false) })
	if errors.Is(err, errNoHead) {
		return Batch{}, false, nil
	}
	if err != nil {
		return Batch{}, false, err
	}
	to := r.after
	for _, ev := range found.events {
		if ev.GlobalPosition != to+1 {
			return Batch{}, false, nil
		}
		to++
	}
	if to == r.after || to < found.head {
		return Batch{}, false, nil
	}
	b = Batch{From: r.after, To: to, Head: max(found.head, to), Settled: to, More: true, Glanced: true, Push: true}
	for _, ev := range found.events {
		if r.slots.Has(ev.Slot) {
			b.Events = append(b.Events, ev)
		}
	}
	r.after = to
	return b, true, nil
}

// Peek is the cheapest look, for a reader that had read everything and that nothing has woken: one statement, which asks for the
// head. Where the cursor has come to the head there is nothing that a Next could find, and ok is true. It does not look at the
// triggers: whether they stand matters once there is an append, and that moves the head.
func (r *Reader) Peek(ctx context.Context) (b Batch, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	head, err := r.scanHead(r.pool.QueryRow(ctx, sqlPeek, int64(r.log.Sequence)))
	if err != nil || head == nil || *head != r.after {
		return Batch{}, false, err
	}
	return Batch{From: r.after, To: r.after, Head: *head, Settled: *head, Push: r.push}, true, nil
}

// reading is the raw outcome of the three statements.
type reading struct {
	head     int64
	lowWater *int64
	holders  int
	push     bool
	events   []eventstore.Event
}

func (r *Reader) read(ctx context.Context, upTo int64, limit int, locks bool) (reading, error) {
	var batch pgx.Batch
	batch.Queue("begin isolation level read committed read only")
	batch.Queue(sqlHead, int64(r.log.Sequence), readTimeoutSetting)
	if locks {
		batch.Queue(sqlLowWater, int64(r.log.Sequence), int64(r.log.Events), int64(r.log.Database))
	}
	switch {
	case !r.only.all():
		batch.Queue(sqlReadTypes, r.after, upTo, limit, r.slots[:], orNull(r.only.Events), orNull(r.only.Aggregates))
	case r.full:
		batch.Queue(sqlRead, r.after, upTo, limit)
	default:
		batch.Queue(sqlReadSlots, r.after, upTo, limit, r.slots[:])
	}
	batch.Queue("commit")
	return r.exchange(ctx, &batch, func(results pgx.BatchResults) (reading, error) {
		if _, err := results.Exec(); err != nil {
			return reading{}, fmt.Errorf("catchup: begin to read the log: %w", err)
		}
		return r.collect(results, locks)
	})
}

// orNull is how no names at all are sent.
func orNull(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return names
}

// exchange sends the statements of one read in one round trip, and lets collect take their results.
func (r *Reader) exchange(ctx context.Context, batch *pgx.Batch, collect func(pgx.BatchResults) (reading, error)) (found reading, err error) {
	acquireCtx, cancelAcquire := context.WithTimeout(ctx, statementTimeout)
	conn, err := r.pool.Acquire(acquireCtx)
	cancelAcquire()
	if err != nil {
		return reading{}, fmt.Errorf("catchup: connect to read the log: %w", err)
	}
	defer conn.Release()
	results := conn.SendBatch(ctx, batch)
	found, err = collect(results)
	if closeErr := results.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("catchup: read the log: %w", closeErr)
	}
	if err != nil && !conn.Conn().IsClosed() {
		// The pipeline stopped inside its transaction; a pool throws such a connection away unless it is ended here.
		rollbackCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
		defer cancel()
		_, _ = conn.Exec(rollbackCtx, "rollback")
	}
	return found, err
}

// collect takes the head, the locks if they were asked for, and the events.
func (r *Reader) collect(results pgx.BatchResults, locks bool) (found reading, err error) {
	head, err := r.scanHead(results.QueryRow(), nil) // nil: the settings
	if err != nil {
		return found, err
	}
	if locks {
		if err := found.scanLocks(results.QueryRow()); err != nil {
			return found, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return found, fmt.Errorf("catchup: read events: %w", err)
	}
	if found.events, err = r.scanner.Collect(rows, r.expected); err != nil {
		return found, fmt.Errorf("catchup: read events: %w", err)
	}
	r.expected = min(len(found.events)+1, maxExpected)
	if head != nil {
		found.head = *head
	} else if len(found.events) > 0 {
		return found, errNoHead
	}
	return found, nil
}

// scanHead takes the head, nil where there is none, in the incarnation that this reader reads, and what else is in the row.
func (r *Reader) scanHead(row pgx.Row, more ...any) (head *int64, err error) {
	var token *string
	if err := row.Scan(append([]any{&head, &token}, more...)...); err != nil {
		return nil, fmt.Errorf("catchup: read the head of the log: %w", err)
	}
	if (token == nil || Token(*token) != r.token) && !remembered {
		return nil, ErrIncarnation
	}
	return head, nil
}

// scanLocks takes the low water and the states of the triggers.
func (f *reading) scanLocks(row pgx.Row) error {
	var before, after string
	if err := row.Scan(&f.lowWater, &f.holders, &before, &after); err != nil {
		return fmt.Errorf("catchup: read the low water: %w", err)
	}
	if before != "A" {
		return ErrUnguarded
	}
	f.push = after == "A"
	return nil
}

// batch decides what of a reading may be handed out: what is settled, and what follows it or the cursor without a hole,
// for there is no position in between that anybody could fill.
func (f reading) batch(after, upTo int64, limit int) Batch {
	settled := f.head
	if f.lowWater != nil && !horizonless {
		settled = min(settled, *f.lowWater)
	}
	b := Batch{From: after, To: after, Head: f.head, Settled: settled, Holders: f.holders, Push: f.push}
	horizon := max(settled, after)
	for i, ev := range f.events {
		if ev.GlobalPosition-1 > horizon {
			b.Blocked = true
			f.events = f.events[:i]
			break
		}
		horizon = max(horizon, ev.GlobalPosition)
		b.To = ev.GlobalPosition
	}
	b.Events = f.events
	full := len(f.events) == limit
	if !full {
		b.To = max(b.To, min(settled, upTo))
	}
	b.More = full || b.To == upTo
	b.Blocked = b.Blocked || settled < upTo && upTo < f.head // what waits may lie beyond the window
	return b
}
