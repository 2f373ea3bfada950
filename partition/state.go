package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrPosition means that a position is beyond the log, or that of an event that is not there or handled already.
var ErrPosition = errors.New("partition: the position cannot be used")

// Pause keeps every worker from handling more of a projection, from this moment on: what is in flight is rolled back, and
// handled again after Resume. Workers go on running, also those that start later.
func Pause(ctx context.Context, pool *pgxpool.Pool, projection string) error {
	return setState(ctx, pool, projection, "paused")
}

// Resume lets a projection go on that was paused. Workers notice within a second.
func Resume(ctx context.Context, pool *pgxpool.Pool, projection string) error {
	return setState(ctx, pool, projection, "running")
}

func setState(ctx context.Context, pool *pgxpool.Pool, projection, state string) error {
	return steer(ctx, pool, projection, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, sqlStateSet, projection, state).Scan(nil); err != nil {
			return err
		}
		if state != "paused" {
			return nil
		}
		_, err := tx.Exec(ctx, sqlRaise, projection, nil)
		return err
	})
}

// RequestReset asks for a projection to start over behind a position: 0 is the beginning of the log, a negative one its end
// as of now. It returns the position. The next worker that runs the projection does it, in one transaction with emptying
// its read model. force is for projections that cannot empty theirs, and for effects, which will be done again.
func RequestReset(ctx context.Context, pool *pgxpool.Pool, projection string, position int64, force bool) (to int64, err error) {
	var at *int64
	if position >= 0 {
		at = &position
	}
	err = steer(ctx, pool, projection, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlResetRequest, projection, at, force).Scan(&to)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %d is beyond the last event", ErrPosition, position)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRaise, projection, nil)
		return err
	})
	return to, err
}

// ResetPending tells whether a RequestReset has not been dealt with yet, and if the last one was refused, why.
func ResetPending(ctx context.Context, pool *pgxpool.Pool, projection string) (pending bool, refused string, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = pool.QueryRow(ctx, "select reset_to is not null, coalesce(reset_error, '') from projections where projection_name = $1", projection).
		Scan(&pending, &refused)
	if err != nil {
		return false, "", fmt.Errorf("partition: look at the reset of %s: %w", projection, err)
	}
	return pending, refused, nil
}

// Skip asks for one event to be passed over by a projection that has not come past it. A parked event is discarded instead.
func Skip(ctx context.Context, pool *pgxpool.Pool, projection string, position int64) error {
	return steer(ctx, pool, projection, func(tx pgx.Tx) error {
		var in int
		err := tx.QueryRow(ctx, sqlSkip, projection, position).Scan(&in)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: there is no event at %d that %s has still before it", ErrPosition, position, projection)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRaise, projection, []int32{int32(in)})
		return err
	})
}

// steer runs one of the above, on a projection that is there, in a transaction that is durable when it returns.
func steer(ctx context.Context, pool *pgxpool.Pool, projection string, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err := durably(ctx, pool, func(tx pgx.Tx) error {
		var exists bool
		err := tx.QueryRow(ctx, "select exists (select from projections where projection_name = $1)", projection).Scan(&exists)
		if err == nil && !exists {
			err = fmt.Errorf("%w: %s", ErrNoProjection, projection)
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil && !errors.Is(err, ErrPosition) && !errors.Is(err, ErrNoProjection) {
		return fmt.Errorf("partition: steer %s: %w", projection, err)
	}
	return err
}
