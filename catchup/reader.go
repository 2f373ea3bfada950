package catchup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// ReadTimeout bounds one read. A window is at most maxWindow positions wide, which a cold disk reads in a few seconds.
// Reads behind one that took longer have up to eight times as long, and bring less.
const ReadTimeout = 30 * time.Second

const (
	minWindow = 1 << 16 // positions that one read looks through, at first
	maxWindow = 1 << 20 // doubled up to here while nothing is found: about 0.3 s of filtering in memory
)

// maxExpected bounds the memory that is reserved for events before they come: 10 MB, for more than the largest batch has.
const maxExpected = 50_000

// Reader reads the events of some slots from a cursor on. It is for one goroutine at a time.
type Reader struct {
	pool   db.DB
	log    Log
	token  Token
	slots  SlotSet
	full   bool  // slots has all slots, so a read needs no filter
	only   Types // the server leaves out all other types
	after  int64 // the cursor
	window int64 // how many positions the next read looks through

	// As the last full read saw them. Nothing can be added at or below settled any more for as long as the incarnation
	// lives.
	settled int64
	push    bool

	head   int64 // as the read saw it that is handing out
	beyond int64 // the highest position seen above the head of its read; 0: none was since the head has passed it

	glances  sized // the last statement of a glance
	wary     bool  // a glance makes the settings of a read; set for good once it was refused without
	bound    Bound
	patience *patience
	seal     sealer
}

// Types selects the events that a reader wants of its slots. The zero value selects all.
type Types struct {
	Events, Aggregates []string // none: all
}

// all reports whether t selects all events.
func (t Types) all() bool { return len(t.Events) == 0 && len(t.Aggregates) == 0 }

// NewReader returns a Reader of slots in one incarnation of the database, with its cursor at position after.
func NewReader(pool db.DB, log Log, token Token, slots SlotSet, after int64) *Reader {
	return &Reader{pool: pool, log: log, token: token, slots: slots, full: slots.Full(), after: after, window: minWindow, patience: &patience{}}
}

// SetBytes bounds what one read brings, beside one event that is larger. 0 means DefaultBytes.
func (r *Reader) SetBytes(most int) { r.bound.Bytes = most }

// limit bounds the time of one read, the wait for a connection included.
func (r *Reader) limit() time.Duration { return r.patience.timeout() + statementTimeout }

// Only makes Next leave out events of other types, which the server then does not send.
func (r *Reader) Only(types Types) { r.only = types }

// Turn moves the cursor to position after, and makes the reader read other slots.
func (r *Reader) Turn(after int64, slots SlotSet) {
	if after != r.after {
		r.after, r.window = after, minWindow
	}
	if slots != r.slots {
		r.slots, r.full = slots, slots.Full()
	}
}

var errNoHead = fmt.Errorf("%w: it shows no value although there are events (run: grant select on its sequence to this role)", ErrSequence)

// Batch is the result of one read. Events has everything in (From, To] that is of the reader's slots and types, in
// order, and nothing will ever be added in that range.
type Batch struct {
	Events   []eventstore.Event
	From, To int64

	// Head is the highest position given out and Settled the horizon, both as this read saw them; Holders is the number
	// of transactions that held K, negative if this read did not look at the locks.
	Head, Settled int64
	Holders       int

	// More means that there are more events to read at once. Blocked means that committed events wait behind a hole
	// that an open append may still fill: read again soon, because no notification comes if that append rolls back.
	More, Blocked bool

	// Glanced means that Glance read the batch. AtHead means that the batch ends at the head that Glance has seen: every
	// position that was given out by then has its event.
	Glanced, AtHead bool

	// Partial means that events of the reader's slots were left out because of their types.
	Partial bool

	// Push reports whether the push trigger was enabled. Without it no append wakes a reader.
	Push bool
}

// Next reads up to limit events after the cursor and moves the cursor to the end of the range that it has looked
// through. Up to the horizon that an earlier read has seen it reads without looking at the locks again, which costs as
// much as some hundred events.
func (r *Reader) Next(ctx context.Context, limit int) (Batch, error) {
	return r.next(ctx, limit, flow{})
}

// next is Next, or Flow.
func (r *Reader) next(ctx context.Context, limit int, f flow) (Batch, error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.patience.timeout())
	defer cancel()
	limit = r.patience.limit(r.bound.Limit(limit))
	upTo, locks := r.after+r.patience.window(r.window), true
	if r.after < r.settled {
		upTo, locks = min(upTo, r.settled), false
	}
	found, err := r.read(ctx, upTo, limit, locks, f)
	if errors.Is(err, errNoHead) { // the first event of the log may have come between the two looks
		found, err = r.read(ctx, upTo, limit, locks, f)
	}
	if err = r.patience.note(outer, err, found.full(limit) || upTo == r.after+r.patience.window(r.window) && upTo <= found.head); err != nil {
		return Batch{}, err
	}
	if err := r.checkBehind(found.head); err != nil {
		return Batch{}, err
	}
	if err := r.checkHead(found); err != nil {
		return Batch{}, err
	}
	if !locks {
		found.lowWater, found.holders, found.push = &r.settled, -1, r.push
	}
	b := found.batch(r.after, upTo, limit)
	r.settled, r.push = max(r.settled, b.Settled), b.Push
	b.Partial = !r.only.all()
	if err := r.leap(ctx, &b, upTo); err != nil {
		return Batch{}, err
	}
	r.after = b.To
	return b, nil
}

// checkBehind returns an error if the log ends before the cursor, or before the horizon that was seen.
func (r *Reader) checkBehind(head int64) error {
	switch {
	case head < r.after:
		return fmt.Errorf("%w: its head is %d and the checkpoint %d", ErrLogBehind, head, r.after)
	case head < r.settled:
		return fmt.Errorf("%w: its head is %d and was %d", ErrLogBehind, head, r.settled)
	}
	return nil
}

// checkHead returns an error for a log that holds a position which its sequence has not given out. A position above the head
// of its own read is common, because the head is read first; one that the head of a later read has not passed either was
// inserted with a position of its own, or restored without the sequence.
func (r *Reader) checkHead(found reading) error {
	if found.head >= r.beyond {
		r.beyond = 0
	} else {
		return fmt.Errorf("%w: there is an event at position %d, and the sequence has given out %d (run: select setval(pg_get_serial_sequence('events', 'global_position'), (select max(global_position) from events)))",
			ErrSequence, r.beyond, found.head)
	}
	if n := len(found.events); n > 0 && found.events[n-1].GlobalPosition > found.head {
		r.beyond = found.events[n-1].GlobalPosition
	}
	return nil
}

// leap widens the window while it contains no event, and moves the end of b over a stretch without any events.
func (r *Reader) leap(ctx context.Context, b *Batch, upTo int64) error {
	switch {
	case len(b.Events) > 0:
		r.window = minWindow
	case b.To == upTo && r.window < maxWindow:
		r.window *= 2
	case b.To == upTo:
		var next *int64
		if err := db.QueryRow(ctx, r.pool, []any{&next}, sqlNext.In(r.log.Schema), b.To); err != nil {
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

// reading is the raw result of the three statements.
type reading struct {
	head     int64
	lowWater *int64 // nil: no transaction held K
	holders  int
	push     bool
	events   []eventstore.Event // those that were not handed out before
	handed   int                // how many were
	whole    bool               // false: there were more events than the bound of the read let through
	cut      bool               // their rest is still to come on the connection, which has to be closed
}

// full reports whether there were as many events as a read asked for, or more than it may bring.
func (f reading) full(limit int) bool { return !f.whole || f.handed+len(f.events) == limit }

// read sends the statements of one read: events after the cursor up to and including upTo, limit at most. locks false
// leaves out the low water. The events are handed out by f.
func (r *Reader) read(ctx context.Context, upTo int64, limit int, locks bool, f flow) (reading, error) {
	return r.exchange(ctx, func(batch *pgx.Batch, needs db.Needs) { r.queue(batch, needs, upTo, limit, locks) },
		func(results pgx.BatchResults) (reading, error) {
			if _, err := results.Exec(); err != nil {
				return reading{}, fmt.Errorf("catchup: begin to read the log: %w", err)
			}
			return r.collect(results, locks, limit, f)
		})
}

// queueHead queues what a read begins with, for a connection with needs.
func (r *Reader) queueHead(batch *pgx.Batch, needs db.Needs) {
	batch.Queue(sqlHead.In(r.log.Schema), int64(r.log.Sequence), db.Milliseconds(r.patience.timeout()), needs.Forms, needs.Unlimited)
}

// queue queues the statements of one read, as read says.
func (r *Reader) queue(batch *pgx.Batch, needs db.Needs, upTo int64, limit int, locks bool) {
	batch.Queue(db.BeginRead)
	r.queueHead(batch, needs)
	if locks {
		batch.Queue(sqlLowWater.In(r.log.Schema), int64(r.log.Sequence), int64(r.log.Events), int64(r.log.Database))
	}
	switch {
	case !r.only.all():
		batch.Queue(sqlReadTypes.In(r.log.Schema), r.after, upTo, limit, r.slots[:], namesOrNull(r.only.Events), namesOrNull(r.only.Aggregates))
	case r.full:
		batch.Queue(sqlRead.In(r.log.Schema), r.after, upTo, limit)
	default:
		batch.Queue(sqlReadSlots.In(r.log.Schema), r.after, upTo, limit, r.slots[:])
	}
	batch.Queue("commit")
}

// namesOrNull returns nil for no names, which goes to the server as null.
func namesOrNull(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return names
}

// collect reads the results: the head, the locks if they were asked for, and the events, limit at most, which are handed out by f.
func (r *Reader) collect(results pgx.BatchResults, locks bool, limit int, f flow) (found reading, err error) {
	head, err := r.scanHead(results.QueryRow(), nil) // nil: the settings
	if err != nil {
		return found, err
	}
	if locks {
		if err := found.scanLocks(results.QueryRow()); err != nil {
			return found, err
		}
	}
	if f.hand != nil {
		if f, err = r.counted(f, &found, head); err != nil {
			return found, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return found, fmt.Errorf("catchup: read events: %w", err)
	}
	collected, err := r.bound.collect(rows, limit, f)
	if err != nil {
		return found, fmt.Errorf("catchup: read events: %w", err)
	}
	found.events, found.whole, found.cut = collected.Events, collected.Whole, collected.Cut
	if head != nil {
		found.head = *head
	} else if len(found.events) > 0 {
		return found, errNoHead
	}
	return found, nil
}

// scanHead reads a row with the head, nil where there is none, the token, more, and the file of the sequence. It returns
// ErrIncarnation if the token is not the reader's, and ErrChanged if the file is not.
func (r *Reader) scanHead(row pgx.Row, more ...any) (head *int64, err error) {
	var token *string
	var filenode *int64
	if err := row.Scan(append(append([]any{&head, &token}, more...), &filenode)...); err != nil {
		return nil, fmt.Errorf("catchup: read the head of the log: %w", err)
	}
	return head, sourceError(token != nil && Token(*token) == r.token, filenode != nil && uint32(*filenode) == r.log.Filenode)
}

// sourceError returns ErrIncarnation unless the token that came with the head is the reader's, and ErrChanged unless the file of the
// sequence is.
func sourceError(token, file bool) error {
	switch {
	case !token:
		return ErrIncarnation
	case !file:
		return ErrChanged
	}
	return nil
}

// scanLocks reads the low water and the states of the triggers. It returns ErrUnguarded if the append trigger is not
// enabled.
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

// batch returns the part of a reading that may be handed out: the settled events, and those that follow them or the
// cursor without a hole, because there is no position in between that an append could fill.
func (f reading) batch(after, upTo int64, limit int) Batch {
	settled := f.head
	if f.lowWater != nil {
		settled = min(settled, *f.lowWater)
	}
	b := Batch{From: after, To: after, Head: f.head, Settled: settled, Holders: f.holders, Push: f.push}
	horizon := max(settled, after)
	full := f.full(limit)
	for i := range f.events { // by index: an event is large to copy
		ev := &f.events[i]
		if ev.GlobalPosition-1 > horizon {
			b.Blocked, full = true, false
			f.events = f.events[:i]
			break
		}
		horizon = max(horizon, ev.GlobalPosition)
		b.To = ev.GlobalPosition
	}
	b.Events = f.events
	if !full {
		b.To = max(b.To, min(settled, upTo))
	}
	b.More = full || b.To == upTo
	b.Blocked = b.Blocked || settled < upTo && upTo < f.head // the blocked events may lie beyond the window
	return b
}
