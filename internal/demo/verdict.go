package demo

import (
	"context"
	_ "embed" // the statements
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// verdictTimeout is for scans of the whole log: some ten million events.
const verdictTimeout = 5 * time.Minute

//go:embed sql/verdict.sql
var verdictSQL string

// Verdict is a comparison of the read model with the log.
type Verdict struct {
	// Appended is how many events there are in the log, and Handled how many of them have a row in the read model.
	Appended int64 `json:"appended"`
	Handled  int64 `json:"handled"`

	// Lost is how many events have no row, Doubled how many rows there are beyond the first of their event.
	Lost    int64 `json:"lost"`
	Doubled int64 `json:"doubled"`

	// OutOfOrder is how many events were handled after a later one of the same aggregate.
	OutOfOrder int64 `json:"out_of_order"`

	// Stray is how many rows belong to no event.
	Stray int64 `json:"stray"`
}

// Right reports whether every event was handled once and in order, and nothing else was.
func (v Verdict) Right() bool {
	return v.Lost == 0 && v.Doubled == 0 && v.OutOfOrder == 0 && v.Stray == 0
}

// Judge compares the read model with the log as of one moment. While workers work, what they have not reached yet counts as
// lost.
func Judge(ctx context.Context, pool *pgxpool.Pool) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	var v Verdict
	err := pool.QueryRow(ctx, verdictSQL).Scan(&v.Appended, &v.Handled, &v.Lost, &v.Doubled, &v.OutOfOrder, &v.Stray)
	if err != nil {
		return Verdict{}, fmt.Errorf("demo: compare the read model with the log: %w", err)
	}
	return v, nil
}
