package rouse

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// attempts are the events of a session that were tried and not finished, as the database has them: by this process, or by one
// that died of them. Its methods may be used by several goroutines.
type attempts struct {
	mu    sync.Mutex // protects noted
	noted map[int64]attempt
}

type attempt struct {
	times int
	err   string
	skip  bool // somebody wants the event passed over
}

func (a *attempts) of(ev eventstore.Event) (attempt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, noted := a.noted[ev.GlobalPosition]
	return at, noted
}

// first is the index of the first event that is noted, -1 if none is. Every batch asks.
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

// among are the positions of events that are noted.
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

func (a *attempts) set(ev eventstore.Event, at attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noted[ev.GlobalPosition] = at
}

func (a *attempts) forget(positions []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range positions {
		delete(a.noted, p)
	}
}

// readAttempts loads what was noted of the partitions that the session owns.
func (s *session) readAttempts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	s.attempts.noted = map[int64]attempt{}
	rows, err := s.w.pool.Query(ctx, sqlAttemptsRead, s.name, s.partitions, s.mine())
	if err != nil {
		return fmt.Errorf("rouse: read attempts: %w", err)
	}
	var position int64
	var at attempt
	_, err = pgx.ForEachRow(rows, []any{&position, &at.times, &at.err, &at.skip}, func() error {
		s.attempts.noted[position] = at
		return nil
	})
	if err != nil {
		return fmt.Errorf("rouse: read attempts: %w", err)
	}
	return nil
}

// note writes down that events are about to be tried once more, before they are.
func (s *session) note(ctx context.Context, events []eventstore.Event) error {
	if err := s.w.note(ctx, s.name, events, func(ev eventstore.Event) attempt {
		at, _ := s.attempts.of(ev)
		at.times++
		return at
	}); err != nil {
		return outage{err}
	}
	for _, ev := range events {
		at, _ := s.attempts.of(ev)
		at.times++
		s.attempts.set(ev, at)
	}
	return nil
}

func (w *Worker) note(ctx context.Context, projection string, events []eventstore.Event, of func(ev eventstore.Event) attempt) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	positions, slots := make([]int64, len(events)), make([]int16, len(events))
	times, errs := make([]int32, len(events)), make([]string, len(events))
	for i, ev := range events {
		at := of(ev)
		positions[i], slots[i], times[i], errs[i] = ev.GlobalPosition, ev.Slot, int32(at.times), at.err
	}
	if _, err := w.pool.Exec(ctx, sqlAttemptsNote, projection, positions, slots, times, errs); err != nil {
		return fmt.Errorf("rouse: write down an attempt: %w", err)
	}
	return nil
}

// suspected are the events of partitions whose last owner has died, as long as nothing of those partitions was handled since:
// what killed it may be among them.
func (s *session) suspected(events []eventstore.Event) (suspects []eventstore.Event) {
	s.suspectMu.Lock()
	defer s.suspectMu.Unlock()
	if len(s.suspects) == 0 {
		return nil
	}
	for _, ev := range events {
		if s.suspects[s.partition(ev)] {
			suspects = append(suspects, ev)
		}
	}
	return suspects
}

// cleared takes note that events of some partitions were handled.
func (s *session) cleared(events []eventstore.Event) {
	s.suspectMu.Lock()
	defer s.suspectMu.Unlock()
	if len(s.suspects) == 0 {
		return
	}
	for _, ev := range events {
		delete(s.suspects, s.partition(ev))
	}
}
