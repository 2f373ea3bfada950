package catchup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrStart means that a Start cannot be used.
var ErrStart = errors.New("catchup: nothing can begin there")

// Start says where in the log a projection begins: beginning, now, a position, or a time as RFC 3339 has it. "": nothing is said.
type Start string

// The starts that are always there.
const (
	Beginning Start = "beginning"
	Now       Start = "now"
)

// StartBehind returns the Start behind a position: the first event that is handled is the next one.
func StartBehind(position int64) Start { return Start(strconv.FormatInt(position, 10)) }

// StartAt returns the Start at a time: the first event that is handled is the first one that was made then or later.
func StartAt(at time.Time) Start { return Start(at.UTC().Format(time.RFC3339Nano)) }

// ParseStart returns the Start that a text stands for, in which a time may be a date alone (midnight, UTC) as well. It returns an
// error that wraps ErrStart for any other text.
func ParseStart(text string) (Start, error) {
	if text == string(Beginning) || text == string(Now) {
		return Start(text), nil
	}
	if position, err := strconv.ParseInt(text, 10, 64); err == nil {
		if position < 0 {
			return "", fmt.Errorf("%w: position %d is below 0", ErrStart, position)
		}
		return StartBehind(position), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil && at.UTC().Year() > 0 && at.UTC().Year() < 10000 {
			return StartAt(at), nil
		}
	}
	return "", fmt.Errorf("%w: %q is none of beginning, now, a position, and a time such as 2026-02-28T12:00:00Z", ErrStart, text)
}

const (
	// startChunk is how many events one statement looks at for a time, so that no snapshot lasts.
	startChunk = 50000

	// mostBefore is how many events may be committed behind an open append when something begins now: each has a row until it
	// is passed over.
	mostBefore = 10000
)

// Origin is a place in the log to begin at.
type Origin struct {
	Position int64 // the first event that is handled is behind it

	// Visible means that events behind Position that are visible when the checkpoints are made are not handled: they are older than
	// the start, and one at a lower position may be committed later.
	Visible bool
}

// Find returns the place in log that s stands for, where "" is the beginning.
//
// Now is the horizon: every position up to it is settled, so nothing is missed that is committed later, at whatever position. What is
// visible behind it is left out one by one. A time is looked for among the settled events, by the times of the events themselves,
// from the beginning of the log: the first that was made then or later may stand before others that were made earlier, where clocks
// were set back or appends were slow, and then these are handled too. Nothing that was made then or later is left out. A time that no
// settled event has come to is the horizon.
func (s Start) Find(ctx context.Context, d db.DB, log Log) (Origin, error) {
	if s == "" || s == Beginning {
		return Origin{}, nil
	}
	if position, err := strconv.ParseInt(string(s), 10, 64); err == nil {
		return s.atPosition(ctx, d, position)
	}
	var at time.Time
	if s != Now {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, string(s)); err != nil {
			_, err = ParseStart(string(s))
			return Origin{}, err
		}
	}
	horizon, err := Horizon(ctx, d, log)
	if err != nil {
		return Origin{}, err
	}
	if s != Now {
		position, err := madeBefore(ctx, d, at, horizon)
		return Origin{Position: position}, err
	}
	last, err := LastVisible(ctx, d, horizon)
	if err != nil {
		return Origin{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var more int64
	if err := db.QueryRow(ctx, d, []any{&more}, sqlStartBehind.For(d), last.Position, mostBefore+1); err != nil {
		return Origin{}, fmt.Errorf("catchup: look for events behind the horizon: %w", err)
	}
	if more > mostBefore {
		return Origin{}, fmt.Errorf("%w now: more than %d events were committed behind an append that is still open (end it, rouse status shows its session; or name a position)",
			ErrStart, mostBefore)
	}
	return Origin{Position: last.Position, Visible: true}, nil
}

// atPosition returns the place behind a position that was given out already.
func (s Start) atPosition(ctx context.Context, d db.DB, position int64) (Origin, error) {
	last, err := LastVisible(ctx, d, maxPosition)
	switch {
	case err != nil:
		return Origin{}, err
	case position < 0 || position > last.Position:
		return Origin{}, fmt.Errorf("%w: position %d is not from 0 to that of the last event, %d", ErrStart, position, last.Position)
	}
	return Origin{Position: position}, nil
}

// maxPosition is beyond every event.
const maxPosition = 1<<63 - 1

// madeBefore returns the last position, up to most, before the first event that was made at a time or later.
func madeBefore(ctx context.Context, d db.DB, at time.Time, most int64) (int64, error) {
	for after := int64(0); ; {
		first, last, err := startChunkAt(ctx, d, after, at)
		switch {
		case err != nil:
			return 0, err
		case first != nil:
			return min(*first-1, most), nil
		case last == nil || *last >= most:
			return most, nil
		}
		after = *last
	}
}

// startChunkAt returns the first event that was made at a time or later, among some behind a position, and the last of these; nil:
// there is none.
func startChunkAt(ctx context.Context, d db.DB, after int64, at time.Time) (first, last *int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = db.QueryRow(ctx, d, []any{&first, &last}, sqlStartTime.For(d), after, at, startChunk)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, fmt.Errorf("catchup: look for the first event of a time: %w", err)
	}
	return first, last, nil
}

// Any reports whether log has an event that is visible.
func Any(ctx context.Context, d db.DB) (bool, error) {
	last, err := LastVisible(ctx, d, maxPosition)
	return last.Position > 0, err
}
