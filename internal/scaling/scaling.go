// Package scaling is the built-in projection, scalable_projection: it counts the events of every aggregate in the table
// scaling_activity. Its read model shows at a glance whether events were lost, doubled or handled out of turn, and by
// which worker, so it serves to try a new set-up and to measure failures.
package scaling

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

// Name is the name of the projection.
const Name = "scalable_projection"

const (
	statementTimeout = 10 * time.Second

	// verdictTimeout bounds a scan of the whole log: some ten million events.
	verdictTimeout = 5 * time.Minute
)

var (
	//go:embed sql/create.sql
	createSQL string
	//go:embed sql/count.sql
	countSQL string
	//go:embed sql/verdict.sql
	verdictSQL string
)

// Projection counts events. It has a batch form (rouse.BatchProjection), which is one statement for a whole batch. It
// may be used by many goroutines.
type Projection struct {
	// Label is written to every row whose last event this process has handled.
	Label string
}

// Name returns Name.
func (Projection) Name() string { return Name }

// Apply counts one event.
func (p Projection) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, countSQL, p.tally([]eventstore.Event{ev}).args()...); err != nil {
		return fmt.Errorf("scaling: count an event: %w", err)
	}
	return nil
}

// ApplyBatch queues the one statement that counts all events.
func (p Projection) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	if len(events) > 0 {
		batch.Queue(countSQL, p.tally(events).args()...)
	}
	return nil
}

// Reset empties the table, so that the projection can start over (rouse.Resetter).
func (Projection) Reset(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "delete from scaling_activity"); err != nil {
		return fmt.Errorf("scaling: empty the table: %w", err)
	}
	return nil
}

// tally is a batch by aggregate: one array per column of the statement.
type tally struct {
	types, ids                   []string
	events, first, last, strayed []int64
	label                        string
}

// tally returns the counts of events, which are in order within each aggregate.
func (p Projection) tally(events []eventstore.Event) tally {
	t := tally{label: p.Label}
	at := make(map[eventstore.Stream]int, len(events))
	for _, ev := range events {
		i, seen := at[ev.Stream()]
		if !seen {
			at[ev.Stream()] = len(t.ids)
			t.types = append(t.types, ev.AggregateType)
			t.ids = append(t.ids, ev.AggregateID)
			t.events = append(t.events, 1)
			t.first = append(t.first, ev.AggregateVersion)
			t.last = append(t.last, ev.AggregateVersion)
			t.strayed = append(t.strayed, 0)
			continue
		}
		if ev.AggregateVersion != t.last[i]+1 {
			t.strayed[i]++
		}
		t.events[i]++
		t.last[i] = ev.AggregateVersion
	}
	return t
}

// args returns the arguments of count.sql.
func (t tally) args() []any {
	return []any{t.types, t.ids, t.events, t.first, t.last, t.strayed, t.label}
}

// Ensure creates the table where it is missing. Any number of processes may call it at once: where the table exists, it
// takes no lock; otherwise one creates it under the migration lock and the others wait.
func Ensure(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("scaling: connect: %w", err)
	}
	defer conn.Release()
	var there bool
	lookCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := conn.QueryRow(lookCtx, "select to_regclass('scaling_activity') is not null").Scan(&there); err != nil {
		return fmt.Errorf("scaling: look for the table scaling_activity: %w", err)
	}
	if there {
		return nil
	}
	return migrations.Locked(ctx, conn.Conn(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, createSQL); err != nil {
			return fmt.Errorf("scaling: create the table scaling_activity: %w", err)
		}
		return nil
	})
}

// Verdict is the result of comparing the read model with the log. All fields count events.
type Verdict struct {
	// Appended is the number of events in the log, and Due the number of those at or below the checkpoint of their
	// partition. Counted is the sum over the read model.
	Appended int64 `json:"appended"`
	Due      int64 `json:"due"`
	Counted  int64 `json:"counted"`
	// Lost is the number of events that are due and not counted, Doubled the number that are counted and not due,
	// summed by aggregate.
	Lost    int64 `json:"lost"`
	Doubled int64 `json:"doubled"`
	// OutOfOrder is the number of events that did not have the version after the one before.
	OutOfOrder int64 `json:"out_of_order"`
}

// Judge compares the read model with the log as of one moment. It may be called while workers run.
func Judge(ctx context.Context, pool *pgxpool.Pool) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	var v Verdict
	err := pool.QueryRow(ctx, verdictSQL, Name).Scan(&v.Appended, &v.Due, &v.Counted, &v.Lost, &v.Doubled, &v.OutOfOrder)
	if err != nil {
		return Verdict{}, fmt.Errorf("scaling: compare the read model with the log: %w", err)
	}
	return v, nil
}

// Right reports whether every event that is due was counted once and in turn.
func (v Verdict) Right() bool { return v.Lost == 0 && v.Doubled == 0 && v.OutOfOrder == 0 }

// Complete reports whether every event in the log was counted once and in turn.
func (v Verdict) Complete() bool { return v.Right() && v.Due == v.Appended }
