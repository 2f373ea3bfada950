package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

// attempts mirrors the rows of event_attempts: the events that were tried and not finished, by this process or by one
// that died of them. Its methods may be called by several goroutines.
type attempts struct {
	projection string
	pool       *db.Pool

	mu sync.Mutex // protects the fields below
	// noted has the attempt of each such event, by position.
	noted map[int64]attempt

	// suspects are the partitions whose last owner died and of which no event was handled since: the cause of its death
	// may be among their next events.
	suspects map[int]bool
}

// attempt is the history of one event: its tries and its last error.
type attempt struct {
	times int
	err   string
	skip  bool // pass over the event: an operator wants that, or it is older than the start of the projection (old)
	old   bool

	// pending means that the last of times was written down ahead, for a suspect, and is the next try at the event by itself.
	pending bool
}

// cause returns what the last try has ended with.
func (a attempt) cause() error {
	if a.err == "" {
		return errDied
	}
	return errors.New(a.err)
}

// of returns the attempt at ev; noted is false if there is none.
func (a *attempts) of(ev eventstore.Event) (attempt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, noted := a.noted[ev.GlobalPosition]
	return at, noted
}

// first returns the index of the first event that is noted, -1 if none is. It is called for every batch.
func (a *attempts) first(events []eventstore.Event) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.noted) == 0 {
		return -1
	}
	return slices.IndexFunc(events, func(ev eventstore.Event) bool {
		_, noted := a.noted[ev.GlobalPosition]
		return noted
	})
}

// among returns the positions of the events that are noted.
func (a *attempts) among(events []eventstore.Event) (positions []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.noted) == 0 {
		return nil
	}
	for _, ev := range events {
		if _, noted := a.noted[ev.GlobalPosition]; noted {
			positions = append(positions, ev.GlobalPosition)
		}
	}
	return positions
}

// set notes at as the attempt at ev, in memory only.
func (a *attempts) set(ev eventstore.Event, at attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noted[ev.GlobalPosition] = at
}

// unnote takes the last try at ev back in memory.
func (a *attempts) unnote(ev eventstore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.noted[ev.GlobalPosition]
	at.times, at.pending = max(at.times-1, 0), false
	if at == (attempt{}) {
		delete(a.noted, ev.GlobalPosition)
	} else {
		a.noted[ev.GlobalPosition] = at
	}
}

// forget deletes attempts from memory. Those in the database are deleted by the transaction of the events.
func (a *attempts) forget(positions []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range positions {
		delete(a.noted, p)
	}
}

// load reads the attempts at events in the partitions of c.
func (a *attempts) load(ctx context.Context, c *Checkpoints) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	a.noted = map[int64]attempt{}
	err := db.Query(ctx, a.pool, func(rows pgx.Rows) error {
		var position int64
		var at attempt
		_, err := pgx.ForEachRow(rows, []any{&position, &at.times, &at.err, &at.skip, &at.old}, func() error {
			a.noted[position] = at
			return nil
		})
		return err
	}, sqlAttemptsRead.In(c.schema), c.projection, c.total, c.Owned())
	if err != nil {
		return fmt.Errorf("rouse: read attempts: %w", err)
	}
	return nil
}

// note writes down one more try at each of events, before it is made. Its error is an outage, after which nobody knows whether it
// was written down.
func (a *attempts) note(ctx context.Context, events []eventstore.Event) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	positions, slots, errs := make([]int64, len(events)), make([]int16, len(events)), make([]string, len(events))
	for i, ev := range events {
		at, _ := a.of(ev)
		positions[i], slots[i], errs[i] = ev.GlobalPosition, ev.Slot, at.err
	}
	var noted []int64
	var times []int32
	err := db.WriteRow(ctx, a.pool, []any{&noted, &times}, sqlAttemptsNote.In(a.pool.Schema), a.projection, positions, slots, errs)
	if err != nil {
		return outage{fmt.Errorf("rouse: write down an attempt: %w", err)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, position := range noted {
		at := a.noted[position]
		at.times = int(times[i])
		a.noted[position] = at
	}
	return nil
}

// notePending writes down a try at each of events, which the next try at it by itself need not write down.
func (a *attempts) notePending(ctx context.Context, events []eventstore.Event) error {
	if err := a.note(ctx, events); err != nil {
		return err
	}
	for _, ev := range events {
		at, _ := a.of(ev)
		at.pending = true
		a.set(ev, at)
	}
	return nil
}

// takePending reports whether a try at ev is written down ahead, which the caller makes.
func (a *attempts) takePending(ev eventstore.Event) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.noted[ev.GlobalPosition]
	if !at.pending {
		return false
	}
	at.pending = false
	a.noted[ev.GlobalPosition] = at
	return true
}

// hasPending returns those of events at which a try is written down that was not made.
func (a *attempts) hasPending(events []eventstore.Event) (left []eventstore.Event) {
	for _, ev := range events {
		if at, _ := a.of(ev); at.pending {
			left = append(left, ev)
		}
	}
	return left
}

// forgetInDatabase deletes the attempt at ev outside of the event's transaction.
func (a *attempts) forgetInDatabase(ctx context.Context, ev eventstore.Event) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	return db.Exec(ctx, a.pool, sqlAttemptsForget.In(a.pool.Schema), a.projection, []int64{ev.GlobalPosition})
}

// suspected returns the events that are in suspect partitions.
func (a *attempts) suspected(events []eventstore.Event, c *Checkpoints) (suspects []eventstore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.suspects) == 0 {
		return nil
	}
	for _, ev := range events {
		if a.suspects[c.partition(ev)] {
			suspects = append(suspects, ev)
		}
	}
	return suspects
}

// clear removes the partitions of events, which were handled, from the suspects.
func (a *attempts) clear(events []eventstore.Event, c *Checkpoints) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.suspects) == 0 {
		return
	}
	for _, ev := range events {
		delete(a.suspects, c.partition(ev))
	}
}
