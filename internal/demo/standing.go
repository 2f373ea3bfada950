package demo

import (
	"context"
	_ "embed" // the statements
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	//go:embed sql/mark.sql
	markSQL string
	//go:embed sql/standing.sql
	standingSQL string
	//go:embed sql/takeover.sql
	takeoverSQL string
)

// Mark is a moment in the life of the log.
type Mark struct {
	At       time.Time // by the clock of the server
	Position int64     // of the last visible event
}

// Now reads a mark.
func Now(ctx context.Context, pool *pgxpool.Pool) (Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var m Mark
	if err := pool.QueryRow(ctx, markSQL).Scan(&m.At, &m.Position); err != nil {
		return Mark{}, fmt.Errorf("demo: read the clock of the server: %w", err)
	}
	return m, nil
}

// Standing is who has the partitions of the demo at one moment.
type Standing struct {
	At     time.Time // by the clock of the server; zero where there are no partitions yet
	Owners []string  // the label of the living owner of each partition, "" for none
}

// Of are the partitions of the worker with a label, "" for those that nobody has.
func (s Standing) Of(label string) []int {
	of := []int{}
	for partition, owner := range s.Owners {
		if owner == label {
			of = append(of, partition)
		}
	}
	return of
}

// Look reads who has the partitions. Before the first worker has started there are none.
func Look(ctx context.Context, pool *pgxpool.Pool) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var s Standing
	rows, err := pool.Query(ctx, standingSQL, Name)
	if err == nil {
		var partition int
		var owner string
		_, err = pgx.ForEachRow(rows, []any{&partition, &owner, &s.At}, func() error {
			s.Owners = append(s.Owners, owner)
			return nil
		})
	}
	if err != nil {
		return Standing{}, fmt.Errorf("demo: read who has the partitions: %w", err)
	}
	return s, nil
}

// Takeover is whether others have gone on with the partitions of a worker.
type Takeover struct {
	// First is when one of them handled the first event of these partitions, by the clock of the server; nil: not yet.
	First *time.Time

	// Appended reports whether there is an event of these partitions that was appended after the mark. Without one there may be
	// nothing to go on with.
	Appended bool
}

// TakenOver reads whether others than the worker with a label have handled an event of its partitions since a mark. before is
// who had the partitions at the mark.
func TakenOver(ctx context.Context, pool *pgxpool.Pool, since Mark, before Standing, label string) (Takeover, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var t Takeover
	err := pool.QueryRow(ctx, takeoverSQL, since.At, label, len(before.Owners)-1, before.Of(label), since.Position).Scan(&t.First, &t.Appended)
	if err != nil {
		return Takeover{}, fmt.Errorf("demo: read who has taken over from %s: %w", label, err)
	}
	return t, nil
}
