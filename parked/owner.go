package parked

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
)

// What follows is for the owner of the partitions, the only one who sets events aside.

// Set is the aggregates of which events are parked, as their owner remembers them.
type Set map[eventstore.Stream]struct{}

// Has tells whether the event's aggregate has parked events.
func (s Set) Has(ev eventstore.Event) bool {
	_, has := s[ev.Stream()]
	return has
}

// Read returns the aggregates that have parked events in some of a projection's partitions, of which there are total.
func Read(ctx context.Context, pool *pgxpool.Pool, projection string, total int, partitions []int) (Set, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := pool.Query(ctx, sqlAggregates, projection, total, partitions)
	if err != nil {
		return nil, fmt.Errorf("parked: read the aggregates: %w", err)
	}
	return collect(rows)
}

func collect(rows pgx.Rows) (Set, error) {
	set := Set{}
	var s eventstore.Stream
	_, err := pgx.ForEachRow(rows, []any{&s.Type, &s.ID}, func() error {
		set[s] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parked: read the aggregates: %w", err)
	}
	return set, nil
}

// Hold queues the lock of partitions and, behind it, the question which of some aggregates still have parked events. The
// answer is good to the end of the transaction.
func Hold(batch *pgx.Batch, projection string, partitions []int, aggregates Set, still *Set) {
	batch.Queue(sqlHold, projection, partitions)
	types, ids := make([]string, 0, len(aggregates)), make([]string, 0, len(aggregates))
	for s := range aggregates {
		types, ids = append(types, s.Type), append(ids, s.ID)
	}
	batch.Queue(sqlStill, projection, types, ids).Query(func(rows pgx.Rows) (err error) {
		*still, err = collect(rows)
		return err
	})
}

// Setting is an event to set aside. Attempts and Error are empty if it only goes behind another one.
type Setting struct {
	Event    eventstore.Event
	Attempts int
	Error    string
}

// Park queues the setting aside of events, in the transaction that moves the checkpoint past them.
func Park(batch *pgx.Batch, projection string, settings []Setting) *pgx.QueuedQuery {
	var positions []int64
	var attempts []int32
	var errs []string
	for _, s := range settings {
		positions = append(positions, s.Event.GlobalPosition)
		attempts = append(attempts, int32(s.Attempts))
		errs = append(errs, s.Error)
	}
	return batch.Queue(sqlPark, projection, positions, attempts, errs)
}

// Due returns up to limit parked events that are to be handled again, ordered by aggregate and within each by the log.
func Due(ctx context.Context, pool *pgxpool.Pool, projection string, total int, partitions []int, limit int) ([]eventstore.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := pool.Query(ctx, sqlDue, projection, total, partitions, limit)
	if err != nil {
		return nil, fmt.Errorf("parked: read what is due: %w", err)
	}
	events, err := pgx.CollectRows(rows, eventstore.ScanEvent)
	if err != nil {
		return nil, fmt.Errorf("parked: read what is due: %w", err)
	}
	return events, nil
}

// Handled queues the end of parked events of one aggregate, which the same transaction has handled. It raises in the server
// if one of them is not there any more.
func Handled(batch *pgx.Batch, projection string, events []eventstore.Event) *pgx.QueuedQuery {
	positions := make([]int64, len(events))
	for i, ev := range events {
		positions[i] = ev.GlobalPosition
	}
	return batch.Queue(sqlHandled, projection, events[0].AggregateType, events[0].AggregateID, positions)
}

// Failed writes down that a parked event has failed again. Its aggregate is left alone until somebody asks again.
func Failed(ctx context.Context, pool *pgxpool.Pool, projection string, ev eventstore.Event, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := pool.Exec(ctx, sqlFailed, projection, ev.AggregateType, ev.AggregateID, ev.GlobalPosition, reason); err != nil {
		return fmt.Errorf("parked: write down a failure: %w", err)
	}
	return nil
}
