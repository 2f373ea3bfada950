package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
)

// untried is why a reset is not done that no worker has tried.
const untried = "no worker has tried it yet"

// Reset asks for a projection to start over behind a position, and returns the position: 0 is the beginning of the log, a
// negative one its end as of now: the last event before which no append is still open. The next worker that runs the projection does it, in one transaction with emptying the read
// model, and forgets the events that were set aside; LastReset reports whether it has. force resets also a projection that
// cannot empty its read model, whose events are then applied again to what is there, and an effect, which is done again.
func Reset(ctx context.Context, pool *pgxpool.Pool, name string, position int64, force bool) (to int64, err error) {
	at := position
	if position < 0 {
		if at, err = end(ctx, pool); err != nil {
			return 0, err
		}
	}
	if err := catchup.CheckWhole(ctx, pool, at); err != nil {
		return 0, err
	}
	err = steer(ctx, pool, name, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlResetRequest, name, at, force, untried).Scan(&to)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %d is beyond the last event", ErrPosition, position)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRaise, name, nil)
		return err
	})
	return to, err
}

// ResetTo is Reset with a Start instead of a position: Now is the end as of now, as a negative position is for Reset, and what is committed
// behind it before the reset is done is handled.
func ResetTo(ctx context.Context, pool *pgxpool.Pool, name string, to Start, force bool) (position int64, err error) {
	if to == catchup.Now {
		return Reset(ctx, pool, name, -1, force)
	}
	log, err := catchup.Open(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("projection: look for the end of the log: %w", err)
	}
	origin, err := to.Find(ctx, pool, log)
	if err != nil {
		return 0, startError(err)
	}
	return Reset(ctx, pool, name, origin.Position, force)
}

// end returns the last position of the log behind which no event can come to be any more: an open append may still fill what
// lies below the last visible one.
func end(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	log, err := catchup.Open(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("projection: look for the end of the log: %w", err)
	}
	horizon, err := catchup.Horizon(ctx, pool, log)
	if err != nil {
		return 0, fmt.Errorf("projection: look for the end of the log: %w", err)
	}
	last, err := catchup.LastVisible(ctx, pool, horizon)
	return last.Position, err
}

// ResetStatus is how the last request to start a projection over stands.
type ResetStatus struct {
	// Pending means that a worker has still to do it. To is the position that was asked for, and Tries how often it was tried and
	// failed; both are 0 unless it is pending. A try that fails leaves the projection as it was, and the next comes after a pause.
	Pending bool
	To      int64
	Tries   int

	// Reason is why it is not done: what the last try met, why a worker refused it, or that the request was taken back. "": it is
	// done, or was never asked for.
	Reason string
}

// LastReset returns how the last Reset of a projection stands.
func LastReset(ctx context.Context, pool *pgxpool.Pool, name string) (ResetStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var to *int64
	var s ResetStatus
	err := pool.QueryRow(ctx, sqlResetLast, name).Scan(&to, &s.Tries, &s.Reason)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ResetStatus{}, became(ctx, pool, name, fmt.Errorf("%w: %s", ErrNoProjection, name))
	case err != nil:
		return ResetStatus{}, fmt.Errorf("projection: look at the reset of %s: %w", name, err)
	case to != nil:
		s.Pending, s.To = true, *to
		return s, nil
	}
	s.Tries = 0
	if s.Reason == untried { // what does it takes the reason away
		s.Reason = "the request was taken back before a worker did it"
	}
	return s, nil
}
