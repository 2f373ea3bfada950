package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// way is a way to append within a transaction. It returns how many events it has left in it.
type way struct {
	name   string
	holds  bool // the aggregate is held, and its version is known
	append func(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error)
}

// ways are all that is tried. The statements of most of them are what any program might send.
var ways = []way{
	{"insert", true, insertOne},
	{"insert of many rows", true, insertThree},
	{"insert .. select", true, insertSelect},
	{"copy", true, copyIn},
	{"savepoint rolled back", true, savepointRolledBack},
	{"savepoint released", true, savepointReleased},
	{"Append to a version", true, appendExact},
	{"Append to any version", false, appendAny},
}

// waysThatHold are those that never wait for another appender.
var waysThatHold = slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !w.holds })

func insertOne(ctx context.Context, _ *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	_, err := tx.Exec(ctx, stressSQL("insert_one"), aggregateType, agg.id, agg.version)
	return 1, err
}

func insertThree(ctx context.Context, _ *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	_, err := tx.Exec(ctx, stressSQL("insert_three"), aggregateType, agg.id, agg.version)
	return 3, err
}

func insertSelect(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	n := 1 + a.rng.IntN(5)
	_, err := tx.Exec(ctx, stressSQL("insert_select"), aggregateType, agg.id, agg.version, n)
	return n, err
}

func copyIn(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	columns := []string{"aggregate_type", "aggregate_id", "aggregate_version", "event_type", "payload"}
	var rows [][]any
	for range 1 + a.rng.IntN(5) {
		agg.version++
		rows = append(rows, []any{aggregateType, agg.id, agg.version, "Happened", json.RawMessage(`{"by": "copy"}`)})
	}
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromRows(rows))
	return int(n), err
}

// savepointRolledBack takes positions, and with the first of them the lock, and gives both back in the middle of the
// transaction; then it appends what should have been there.
func savepointRolledBack(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := insertThree(ctx, a, savepoint, agg); err != nil {
		return 0, err
	}
	pauseFor(ctx, a.delay()/5)
	if err := savepoint.Rollback(ctx); err != nil {
		return 0, err
	}
	pauseFor(ctx, a.delay()/5)
	return insertOne(ctx, a, tx, agg)
}

// savepointReleased nests savepoints and keeps the outer one only.
func savepointReleased(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	outer, err := tx.Begin(ctx)
	if err != nil {
		return 0, err
	}
	kept, err := insertOne(ctx, a, outer, agg)
	if err != nil {
		return 0, err
	}
	agg.version += int64(kept)
	inner, err := outer.Begin(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := insertSelect(ctx, a, inner, agg); err != nil {
		return 0, err
	}
	if err := inner.Rollback(ctx); err != nil {
		return 0, err
	}
	return kept, outer.Commit(ctx)
}

func appendExact(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	return appendEvents(ctx, a, tx, agg, eventstore.Exact(agg.version))
}

func appendAny(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate) (int, error) {
	return appendEvents(ctx, a, tx, agg, eventstore.Any())
}

func appendEvents(ctx context.Context, a *appender, tx pgx.Tx, agg heldAggregate, version eventstore.Expected) (int, error) {
	events := make([]eventstore.NewEvent, 1+a.rng.IntN(3))
	for i := range events {
		events[i] = eventstore.NewEvent{Type: "Happened", Payload: json.RawMessage(`{"by": "Append"}`)}
	}
	appended, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: aggregateType, ID: agg.id}, version, events...)
	if err != nil {
		return 0, err
	}
	if len(appended.Positions) != len(events) {
		return 0, fmt.Errorf("%d events were appended and %d positions came back", len(events), len(appended.Positions))
	}
	return len(events), nil
}
