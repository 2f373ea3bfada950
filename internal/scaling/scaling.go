// Package scaling is the built-in projection, scalable_projection: it counts the events of every aggregate in the table
// scaling_activity. Its read model shows at a glance whether events were lost, doubled or handled out of turn, and by
// which worker, so it serves to try a new set-up and to measure failures.
package scaling

import (
	"cmp"
	"context"
	_ "embed" // the statements
	"fmt"
	"slices"
	"strings"
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
	//go:embed sql/count_strayed.sql
	countStrayedSQL string
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

// Tables names the table, so that it can be built anew beside the live one (rouse.Tabled).
func (Projection) Tables() []string { return []string{"scaling_activity"} }

// Apply counts one event.
func (p Projection) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	sql, args := p.statement([]eventstore.Event{ev})
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("scaling: count an event: %w", err)
	}
	return nil
}

// ApplyBatch queues the one statement that counts all events.
func (p Projection) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	if len(events) > 0 {
		sql, args := p.statement(events)
		batch.Queue(sql, args...)
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

// tallied are the events of one aggregate in a batch.
type tallied struct {
	first   *eventstore.Event
	events  int64
	last    int64 // version
	strayed int64 // events that did not follow the one before
}

// tally returns events, which are in order within each aggregate, by aggregate, and whether some have strayed. Aggregates are in an
// order that is the same for all batches: by slot, which mostly decides, then by id and type.
func tally(events []eventstore.Event) (all []tallied, strayed bool) {
	all = make([]tallied, 0, len(events))
	at := make(map[eventstore.Stream]int, len(events))
	for i := range events {
		ev := &events[i]
		i, seen := at[ev.Stream()]
		if !seen {
			at[ev.Stream()] = len(all)
			all = append(all, tallied{first: ev, events: 1, last: ev.AggregateVersion})
			continue
		}
		t := &all[i]
		if ev.AggregateVersion != t.last+1 {
			t.strayed++
			strayed = true
		}
		t.events++
		t.last = ev.AggregateVersion
	}
	slices.SortFunc(all, func(a, b tallied) int {
		if bySlot := int(a.first.Slot) - int(b.first.Slot); bySlot != 0 {
			return bySlot
		}
		return cmp.Or(strings.Compare(a.first.AggregateID, b.first.AggregateID), strings.Compare(a.first.AggregateType, b.first.AggregateType))
	})
	return all, strayed
}

// statement returns the statement that counts events, and its arguments: one array for each of its columns, and the label.
func (p Projection) statement(events []eventstore.Event) (sql string, args []any) {
	all, strayed := tally(events)
	column := func(of func(t *tallied) int64) []int64 {
		values := make([]int64, len(all))
		for i := range all {
			values[i] = of(&all[i])
		}
		return values
	}
	types, ids := make([]string, len(all)), make([]string, len(all))
	for i := range all {
		types[i], ids[i] = all[i].first.AggregateType, all[i].first.AggregateID
	}
	counts := column(func(t *tallied) int64 { return t.events })
	last := column(func(t *tallied) int64 { return t.last })
	if !strayed {
		return countSQL, []any{types, ids, counts, last, p.Label}
	}
	first := column(func(t *tallied) int64 { return t.first.AggregateVersion })
	strays := column(func(t *tallied) int64 { return t.strayed })
	return countStrayedSQL, []any{types, ids, counts, first, last, strays, p.Label}
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
