// Package demo is `rouse demo`: an appender and a fleet of workers, each a process of this program, that walk through the steps
// in which workers join, die, leave and freeze; what is shown of it; and the verdict. Its projection, demo_log, writes one row
// for every event that it handles and refuses nothing: no constraint hides an event that comes twice. What became of every
// event is then read from this table and the log alone, and not from what workers count.
package demo

import (
	"context"
	_ "embed" // the statements
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
)

// Name is the name of the projection and of its table.
const Name = "demo_log"

// statementTimeout is for statements that read or write what is new.
const statementTimeout = 30 * time.Second

var (
	//go:embed sql/create.sql
	createSQL string
	//go:embed sql/write.sql
	writeSQL string
)

// Projection writes one row for every event. It has a batch form (rouse.BatchProjection), which is one statement for a whole
// batch.
type Projection struct {
	// Label is written to every row that this process has handled.
	Label string
}

// Name returns Name.
func (Projection) Name() string { return Name }

// Apply writes the row of one event.
func (p Projection) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, writeSQL, p.args([]eventstore.Event{ev})...); err != nil {
		return fmt.Errorf("demo: write the row of an event: %w", err)
	}
	return nil
}

// ApplyBatch queues the one statement that writes the rows of all events, in their order.
func (p Projection) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	if len(events) > 0 {
		batch.Queue(writeSQL, p.args(events)...)
	}
	return nil
}

// Reset empties the table, so that the projection can start over (rouse.Resetter).
func (Projection) Reset(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "delete from demo_log"); err != nil {
		return fmt.Errorf("demo: empty the table: %w", err)
	}
	return nil
}

// args are one array per column of the statement, and the label.
func (p Projection) args(events []eventstore.Event) []any {
	n := len(events)
	positions, ids, types := make([]int64, 0, n), make([]string, 0, n), make([]string, 0, n)
	aggregates, versions, appended := make([]string, 0, n), make([]int64, 0, n), make([]time.Time, 0, n)
	for _, ev := range events {
		positions = append(positions, ev.GlobalPosition)
		ids = append(ids, ev.ID.String())
		types = append(types, ev.AggregateType)
		aggregates = append(aggregates, ev.AggregateID)
		versions = append(versions, ev.AggregateVersion)
		appended = append(appended, ev.CreatedAt)
	}
	return []any{positions, ids, types, aggregates, versions, appended, p.Label}
}

// Ensure creates the table where it is missing. Any number of processes may call it at once: where the table is, it takes no
// lock, otherwise one creates it under the migration lock and the others wait.
func Ensure(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("demo: connect: %w", err)
	}
	defer conn.Release()
	var there bool
	lookCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := conn.QueryRow(lookCtx, "select to_regclass('demo_log') is not null").Scan(&there); err != nil {
		return fmt.Errorf("demo: look for the table demo_log: %w", err)
	}
	if there {
		return nil
	}
	return migrations.Locked(ctx, conn.Conn(), func(tx pgx.Tx) error {
		// The simple protocol runs several statements in one round trip, inside the transaction that is open.
		if _, err := tx.Conn().PgConn().Exec(ctx, createSQL).ReadAll(); err != nil {
			return fmt.Errorf("demo: create the table demo_log: %w", err)
		}
		return nil
	})
}
