package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/db"
)

// statementTimeout bounds each statement, and each transaction except the wait for partitions to become equal.
const statementTimeout = 10 * time.Second

// Pause keeps every worker from handling more of a projection, from the moment at which it returns: a batch in hand is rolled
// back, and handled after Resume. Workers go on running, and so do those that start later.
func Pause(ctx context.Context, pool *pgxpool.Pool, name string) error {
	return setState(ctx, pool, name, "paused")
}

// Resume lets a paused projection go on. Workers notice within a second.
func Resume(ctx context.Context, pool *pgxpool.Pool, name string) error {
	return setState(ctx, pool, name, "running")
}

func setState(ctx context.Context, pool *pgxpool.Pool, name, state string) error {
	return steer(ctx, pool, name, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, sqlStateSet, name, state).Scan(nil); err != nil {
			return err
		}
		if state != "paused" {
			return nil
		}
		_, err := tx.Exec(ctx, sqlRaise, name, nil)
		return err
	})
}

// Skip asks for one event to be passed over by a projection that has not come past it. A parked event is discarded instead,
// with parked.Discard.
func Skip(ctx context.Context, pool *pgxpool.Pool, name string, position int64) error {
	return steer(ctx, pool, name, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlSkipLock, name, position); err != nil {
			return err
		}
		var in int
		err := tx.QueryRow(ctx, sqlSkip, name, position).Scan(&in)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: there is no event at %d that %s has still before it", ErrPosition, position, name)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRaise, name, []int32{int32(in)})
		return err
	})
}

// steer calls f in a transaction that is durable when steer returns, for a projection that exists.
func steer(ctx context.Context, pool *pgxpool.Pool, name string, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err := db.Tx(ctx, pool, func(tx pgx.Tx) error {
		var exists bool
		err := tx.QueryRow(ctx, "select exists (select from projections where projection_name = $1)", name).Scan(&exists)
		if err == nil && !exists {
			err = fmt.Errorf("%w: %s", ErrNoProjection, name)
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil && !errors.Is(err, ErrPosition) && !errors.Is(err, ErrNoProjection) {
		return fmt.Errorf("projection: steer %s: %w", name, err)
	}
	return became(ctx, pool, name, err)
}
