package parked

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
)

// statementTimeout bounds every statement of this package.
const statementTimeout = 30 * time.Second

// ErrFilter means that a Filter names no projection where one is needed, or half of an aggregate.
var ErrFilter = errors.New("parked: the filter is not usable")

// Event is an event that was set aside.
type Event struct {
	Projection string
	Position   int64
	ID         string
	Aggregate  eventstore.Stream
	Version    int64
	Type       string

	// Attempts is how often its handler was tried and Error how that last ended. Both are empty for an event that only waits
	// behind another one of its aggregate.
	Attempts int
	Error    string

	ParkedAt time.Time

	// Due means that somebody has asked for it to be handled again, and that the owner of its partition has not done so yet.
	Due bool
}

// Filter says which parked events are meant: those that agree with all fields that are set.
type Filter struct {
	Projection string
	Aggregate  eventstore.Stream
	Position   int64
}

func (f Filter) args() []any {
	null := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	var position *int64
	if f.Position != 0 {
		position = &f.Position
	}
	return []any{null(f.Projection), null(f.Aggregate.Type), null(f.Aggregate.ID), position}
}

func (f Filter) validate() error {
	if f.Projection == "" {
		return fmt.Errorf("%w: it names no projection", ErrFilter)
	}
	return nil
}

// List returns parked events in the order of the log, of all projections if the filter names none. limit 0 means all.
func List(ctx context.Context, pool *pgxpool.Pool, f Filter, limit int) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var most *int
	if limit > 0 {
		most = &limit
	}
	rows, err := pool.Query(ctx, sqlList, append(f.args(), most)...)
	if err != nil {
		return nil, fmt.Errorf("parked: list: %w", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
		err = row.Scan(&e.Projection, &e.Position, &e.ID, &e.Aggregate.Type, &e.Aggregate.ID, &e.Version, &e.Type, &e.Attempts,
			&e.Error, &e.ParkedAt, &e.Due)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("parked: list: %w", err)
	}
	return events, nil
}

// Retry asks the workers that own the partitions to handle the parked events of all aggregates that the filter touches again,
// each aggregate's in order and from its first parked event on. It returns how many events that are, and does not wait. An
// event that fails again stays, with those behind it, until it is asked for again.
func Retry(ctx context.Context, pool *pgxpool.Pool, f Filter) (events int64, err error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	tag, err := pool.Exec(ctx, sqlRetry, f.args()...)
	if err != nil {
		return 0, fmt.Errorf("parked: ask for a retry: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Discard forgets parked events: the projection will never handle them. What waited behind them is handled, as if Retry had
// asked for it. It returns how many events are gone.
func Discard(ctx context.Context, pool *pgxpool.Pool, f Filter) (events int64, err error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLock, f.args()...); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sqlDiscard, f.args()...).Scan(&events)
	})
	if err != nil {
		return 0, fmt.Errorf("parked: discard: %w", err)
	}
	return events, nil
}
