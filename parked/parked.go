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

// Event is an event that was set aside: because it failed, because its handler wants it later (rouse.NotBefore), or because it waits behind
// such a one of its aggregate.
type Event struct {
	Projection string
	Position   int64
	ID         string
	Aggregate  eventstore.Stream
	Version    int64
	Type       string

	// Attempts is how often its handler was tried, and Tries how often since an operator has last asked for it, which is what
	// rouse.RetryPolicy counts. Error is how the last try ended. All are zero for an event that only waits behind another one of its
	// aggregate.
	Attempts, Tries int
	Error           string

	ParkedAt time.Time

	// Events is the number of parked events of its aggregate. Only Aggregates tells it.
	Events int64

	// First is true for the first parked event of its aggregate. The others wait behind it.
	First bool

	// DueAt is when the first event of an aggregate is tried next. Zero: it waits for Retry or Discard, or it is not the first.
	DueAt time.Time

	// Deferred is true for the first event of an aggregate where it has not failed: its handler wants it at DueAt and no earlier
	// (rouse.NotBefore), or the one before it has just left the queue.
	Deferred bool

	// Trying is true while a try is under way. It stays so where the process has died of it, until the next try.
	Trying bool

	// Erased is true where the event is no longer in the log. The owner of its partition takes it out of the queue when its turn
	// comes.
	Erased bool
}

// Filter selects parked events: those that agree with all fields that are set. Half of an aggregate, its type or its id, may be set.
type Filter struct {
	Projection string
	Aggregate  eventstore.Stream
	Position   int64
	EventType  string
	Error      string    // a part of the last error, as it is written
	Since      time.Time // set aside then or later
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
	var since *time.Time
	if !f.Since.IsZero() {
		since = &f.Since
	}
	return []any{null(f.Projection), null(f.Aggregate.Type), null(f.Aggregate.ID), position, null(f.EventType), null(f.Error), since}
}

func (f Filter) validate() error {
	if f.Projection == "" {
		return fmt.Errorf("%w: it names no projection", ErrFilter)
	}
	return nil
}

// List returns parked events in the order of the log, of all projections if the filter names none. limit 0 means all.
func List(ctx context.Context, pool *pgxpool.Pool, f Filter, limit int) ([]Event, error) {
	return list(ctx, pool, sqlList, f, limit)
}

// Aggregates returns the first event of each aggregate that the filter touches, in the order of the log, with the number of its events.
// limit 0 means all.
func Aggregates(ctx context.Context, pool *pgxpool.Pool, f Filter, limit int) ([]Event, error) {
	return list(ctx, pool, sqlAggregates, f, limit)
}

func list(ctx context.Context, pool *pgxpool.Pool, sql string, f Filter, limit int) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var most *int
	if limit > 0 {
		most = &limit
	}
	rows, err := pool.Query(ctx, sql, append(f.args(), most)...)
	if err != nil {
		return nil, fmt.Errorf("parked: list: %w", err)
	}
	events, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("parked: list: %w", err)
	}
	return events, nil
}

// scan reads a row of list.sql or aggregates.sql.
func scan(row pgx.CollectableRow) (e Event, err error) {
	var due *time.Time
	var there bool
	err = row.Scan(&e.Projection, &e.Position, &e.ID, &e.Aggregate.Type, &e.Aggregate.ID, &e.Version, &e.Type, &e.Attempts, &e.Tries,
		&e.Error, &e.ParkedAt, &due, &e.Trying, &e.First, &there, &e.Events)
	if e.Erased = !there; due != nil {
		e.DueAt = *due
	}
	e.Deferred = e.First && due != nil && e.Error == "" && !e.Trying
	return e, err
}

// Retry asks the workers that own the partitions to handle the parked events of all aggregates that the filter touches now, each
// aggregate's in order and from its first parked event on. It returns how many events that are, and does not wait. An event that
// fails again is tried again as one that has just been set aside, and then parked anew; one that its handler still wants later is deferred
// again.
func Retry(ctx context.Context, pool *pgxpool.Pool, f Filter) (events int64, err error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := pool.QueryRow(ctx, sqlRetry, f.args()...).Scan(&events); err != nil {
		return 0, fmt.Errorf("parked: ask for a retry: %w", err)
	}
	return events, nil
}

// Discard forgets parked events: the projection will never handle them. Where the first of an aggregate is among them, what waited
// behind it is handled, as if Retry had asked for it. It returns how many events are gone.
func Discard(ctx context.Context, pool *pgxpool.Pool, f Filter) (events int64, err error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockProjection, f.Projection); err != nil {
			return err
		}
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
