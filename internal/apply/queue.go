package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

const (
	// goRows and goBytes bound what one go takes of a queue: the count keeps its transaction short, the size the memory.
	goRows  = 100
	goBytes = 16 << 20

	// takeBackTimeout bounds the statement that takes tries back, which a stop may wait for.
	takeBackTimeout = 3 * time.Second
)

// parking is an event to set aside. All but event is zero if it only waits behind another one of its aggregate.
type parking struct {
	event       eventstore.Event
	tries, died int
	err         string
	then        verdict
}

// queuePark queues the setting aside of events, in the transaction that moves the checkpoint past them.
func queuePark(batch *pgx.Batch, schema, projection string, events []parking) *pgx.QueuedQuery {
	var positions []int64
	var tries, died []int32
	var errs []string
	var pauses []*float64
	for _, p := range events {
		positions = append(positions, p.event.GlobalPosition)
		tries, died = append(tries, int32(p.tries)), append(died, int32(p.died))
		errs = append(errs, p.err)
		pauses = append(pauses, p.then.seconds())
	}
	return batch.Queue(sqlPark.In(schema), projection, positions, tries, died, errs, pauses)
}

// seconds returns the pause before the next try, nil if there is none.
func (v verdict) seconds() *float64 {
	if !v.again {
		return nil
	}
	pause := v.pause.Seconds()
	return &pause
}

// queueDone queues the deletion of the first rows of a queue, and reads into more whether others are left. The statement raises
// in the server if one of the rows is gone, which becomes errDiscarded.
func queueDone(batch *pgx.Batch, schema, projection string, events []eventstore.Event, more *bool) {
	positions := make([]int64, len(events))
	for i, ev := range events {
		positions[i] = ev.GlobalPosition
	}
	batch.Queue(sqlParkedHandled.In(schema), projection, events[0].AggregateType, events[0].AggregateID, positions).Fn = func(results pgx.BatchResults) error {
		err := results.QueryRow().Scan(nil, more)
		if isDivision(err) {
			return told{errDiscarded}
		}
		return err
	}
}

// queued is a row of the queue of an aggregate.
type queued struct {
	event                 eventstore.Event
	tries, attempts, died int
	err                   string
}

// cause returns what its last try has ended with.
func (q queued) cause() error {
	if q.died > 0 || q.err == "" {
		return errDied
	}
	return errors.New(q.err)
}

// eventsOf returns the events of rows.
func eventsOf(rows []queued) []eventstore.Event {
	events := make([]eventstore.Event, len(rows))
	for i, row := range rows {
		events[i] = row.event
	}
	return events
}

// positionsOf returns the positions of rows.
func positionsOf(rows []queued) []int64 {
	positions := make([]int64, len(rows))
	for i, row := range rows {
		positions[i] = row.event.GlobalPosition
	}
	return positions
}

// split divides rows into those whose events are in the log and those whose events are gone.
func split(rows []queued) (there, gone []queued) {
	for _, row := range rows {
		if row.event.Version == 0 {
			gone = append(gone, row)
		} else {
			there = append(there, row)
		}
	}
	return there, gone
}

// untried returns the first of rows if it was tried before, which may be what a process has died of, and otherwise all up to the first
// that was.
func untried(rows []queued) []queued {
	n := slices.IndexFunc(rows, func(row queued) bool { return row.attempts > 0 })
	if n < 0 {
		return rows
	}
	return rows[:max(n, 1)]
}

// behindEvent is the number of columns of parked_queue.sql behind those of the event.
const behindEvent = 4

// scanQueued reads one row of parked_queue.sql.
func scanQueued(row pgx.CollectableRow) (q queued, err error) {
	columns := len(row.FieldDescriptions()) - behindEvent
	if err := row.Scan(append(make([]any, columns), &q.tries, &q.attempts, &q.died, &q.err)...); err != nil {
		return q, err
	}
	q.event, err = eventstore.ScanEvent(eventRow{row, columns})
	return q, err
}

// eventRow is a row without the columns behind the event.
type eventRow struct {
	pgx.CollectableRow
	columns int
}

// FieldDescriptions returns those of the event.
func (r eventRow) FieldDescriptions() []pgconn.FieldDescription {
	return r.CollectableRow.FieldDescriptions()[:r.columns]
}

// RawValues returns those of the event.
func (r eventRow) RawValues() [][]byte { return r.CollectableRow.RawValues()[:r.columns] }

// Scan scans the columns of the event.
func (r eventRow) Scan(into ...any) error {
	return r.CollectableRow.Scan(append(into, make([]any, behindEvent)...)...)
}

// dueQueue is the queue of an aggregate, and how long it is until it is due.
type dueQueue struct {
	of   eventstore.Stream
	wait time.Duration // not above 0: it is due
}

// dueQueues returns up to limit queues that are due or will be, the earliest first, and whether a binary before version 10 has asked for
// a retry.
func dueQueues(ctx context.Context, pool db.Sender, c *Checkpoints, limit int) (due []dueQueue, asked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	err = db.Query(ctx, pool, func(rows pgx.Rows) (err error) {
		var aggregateType, id *string
		var wait *float64
		_, err = pgx.ForEachRow(rows, []any{&aggregateType, &id, &wait, &asked}, func() error {
			if wait != nil {
				due = append(due, dueQueue{eventstore.Stream{Type: *aggregateType, ID: *id}, time.Duration(*wait * float64(time.Second))})
			}
			return nil
		})
		return err
	}, sqlParkedDue.In(c.schema), c.projection, c.total, c.Owned(), limit)
	if err != nil {
		return nil, false, fmt.Errorf("rouse: read which parked events are due: %w", err)
	}
	return due, asked, nil
}

// readQueue returns up to limit first rows of the queue of an aggregate, up to goBytes and one at least.
func readQueue(ctx context.Context, pool db.Sender, c *Checkpoints, of eventstore.Stream, limit int) (queue []queued, err error) {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	err = db.Query(ctx, pool, func(rows pgx.Rows) (err error) {
		queue, err = pgx.CollectRows(rows, scanQueued)
		return err
	}, sqlParkedQueue.In(c.schema), c.projection, of.Type, of.ID, limit, goBytes)
	if err != nil {
		return nil, fmt.Errorf("rouse: read parked events: %w", err)
	}
	return queue, nil
}

// adoptParked takes over the requests for a retry that binaries before version 10 have written.
func adoptParked(ctx context.Context, pool db.Sender, c *Checkpoints) error {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	if err := db.Exec(ctx, pool, sqlParkedAdopt.In(c.schema), c.projection, c.total, c.Owned()); err != nil {
		return fmt.Errorf("rouse: take over requests for a retry: %w", err)
	}
	return nil
}

// noteParked writes down a try at rows, the first of a queue, before it is made. noted is false if one of them is gone.
func noteParked(ctx context.Context, pool *db.Pool, projection string, rows []queued, pause time.Duration) (noted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	positions := positionsOf(rows)
	var n int
	err = db.WriteRow(ctx, pool, []any{&n}, sqlParkedNote.In(pool.Schema), projection, positions, positions[0], pause.Seconds())
	if err != nil {
		return false, fmt.Errorf("rouse: write down the try of a parked event: %w", err)
	}
	return n == len(rows), nil
}

// takeBackParked takes back tries at events at positions.
func takeBackParked(ctx context.Context, pool *db.Pool, projection string, positions []int64, pause time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackTimeout)
	defer cancel()
	if err := db.Exec(ctx, pool, sqlParkedUntried.In(pool.Schema), projection, positions, pause.Seconds()); err != nil {
		return fmt.Errorf("rouse: take back the try of a parked event: %w", err)
	}
	return nil
}

// deferParked writes down that the handler wants the first of the events at positions, a queue, after a pause, and takes the tries at them
// back.
func deferParked(ctx context.Context, pool *db.Pool, projection string, positions []int64, pause time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackTimeout)
	defer cancel()
	if err := db.Exec(ctx, pool, sqlParkedDeferred.In(pool.Schema), projection, positions, pause.Seconds()); err != nil {
		return fmt.Errorf("rouse: write down that an event waits for its time: %w", err)
	}
	return nil
}

// failParked writes down that the first event of a queue has failed, and what follows.
func failParked(ctx context.Context, pool *db.Pool, projection string, ev eventstore.Event, reason string, then verdict) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := db.Exec(ctx, pool, sqlParkedFailed.In(pool.Schema), projection, ev.GlobalPosition, reason, then.seconds()); err != nil {
		return fmt.Errorf("rouse: write down that a parked event has failed: %w", err)
	}
	return nil
}

// Untried are the tries at parked events that could not be taken back when they ended, because the database was away. It outlives
// the Appliers of a projection, and is for one goroutine. The zero value has none.
type Untried struct{ positions []int64 }

// add adds tries at events at positions.
func (u *Untried) add(positions []int64) { u.positions = append(u.positions, positions...) }

// settle takes them back.
func (u *Untried) settle(ctx context.Context, pool *db.Pool, projection string) error {
	if len(u.positions) == 0 {
		return nil
	}
	if err := takeBackParked(ctx, pool, projection, u.positions, 0); err != nil {
		return err
	}
	u.positions = nil
	return nil
}
