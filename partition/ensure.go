package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrGone means that a projection is not kept in the database any more: it was dropped or renamed, or its row was deleted.
var ErrGone = errors.New("partition: the projection is gone from the database")

// Kept is what the database has under the name of a projection.
type Kept struct {
	// Partitions is how many it is kept in. 0: it is not, or an operator is changing their number (Exists).
	Partitions int
	Exists     bool

	// Retired is when the name was dropped, or given up for RenamedTo; zero: it was not. No such name comes to be by itself.
	Retired   time.Time
	RenamedTo string
}

// Gone returns an error that wraps ErrGone and says what has become of a projection that does not exist.
func (k Kept) Gone(projection string) error {
	switch {
	case k.RenamedTo != "":
		return fmt.Errorf("%w: %s (name it so in the program, and start the worker again)", ErrGone, k.Became(projection))
	case !k.Retired.IsZero():
		return fmt.Errorf("%w: %s (if it is to begin anew: rouse projection create %s --from beginning, now, a position or a time; then start the worker again)",
			ErrGone, k.Became(projection), projection)
	}
	return fmt.Errorf("%w: somebody has deleted the row of %s in projections (start the worker again if it is to begin anew)", ErrGone, projection)
}

// Became says what has become of a name that was retired, "" if it was not.
func (k Kept) Became(projection string) string {
	switch {
	case k.RenamedTo != "":
		return fmt.Sprintf("%s is called %s since %s", projection, k.RenamedTo, k.Retired.UTC().Format(time.RFC3339))
	case !k.Retired.IsZero():
		return fmt.Sprintf("%s was dropped at %s", projection, k.Retired.UTC().Format(time.RFC3339))
	}
	return ""
}

// Find returns what there is of some projections, by name. It locks nothing.
func Find(ctx context.Context, d db.DB, projections []string) (map[string]Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	found := map[string]Kept{}
	err := db.Query(ctx, d, func(rows pgx.Rows) error {
		var name string
		var k Kept
		var retired *time.Time
		_, err := pgx.ForEachRow(rows, []any{&name, &k.Exists, &k.Partitions, &retired, &k.RenamedTo}, func() error {
			k.Retired = time.Time{}
			if retired != nil {
				k.Retired = *retired
			}
			found[name] = k
			return nil
		})
		return err
	}, sqlEnsureLook.For(d), projections)
	if err != nil {
		return nil, fmt.Errorf("partition: look at the projections: %w", err)
	}
	return found, nil
}

// New is a projection that is to be created.
type New struct {
	Name       string
	Partitions int   // 0: Default
	Behind     int64 // the position behind which it begins

	// Unseen leaves out what is visible behind that position when it is created. It is for a position that is the horizon.
	Unseen bool
}

// Create creates those of some projections that do not exist, each with all of its checkpoints, in one statement: of several who
// create the same one at once, the first says where it begins. A name that is retired gives an error that wraps ErrGone, and a position
// behind which the log is not whole one that wraps db.ErrArchived; then none of them is created.
func Create(ctx context.Context, d db.DB, projections []New) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	sql, args, err := create(sqlEnsureAll.For(d), projections)
	if err != nil {
		return err
	}
	if err := db.Exec(ctx, d, sql, args...); err != nil {
		return createError(err)
	}
	return nil
}

// CreateIn is Create in a transaction, whose search_path finds the tables.
func CreateIn(ctx context.Context, tx pgx.Tx, projections []New) error {
	sql, args, err := create(sqlEnsureAll.In(""), projections)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return createError(err)
	}
	return nil
}

// create returns the statement and its arguments.
func create(sql string, projections []New) (string, []any, error) {
	var names []string
	var partitions []int32
	var behind []int64
	var unseen []bool
	for _, p := range projections {
		if p.Partitions == 0 {
			p.Partitions = Default
		}
		if err := CheckCount(p.Partitions); err != nil {
			return "", nil, err
		}
		names, partitions = append(names, p.Name), append(partitions, int32(p.Partitions))
		behind, unseen = append(behind, p.Behind), append(unseen, p.Unseen)
	}
	return sql, []any{names, partitions, behind, unseen}, nil
}

// createError explains an error of ensure_all.sql.
func createError(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55000" { // of the trigger that refuses retired names
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return fmt.Errorf("partition: create projections: %w", db.Archived(err))
}

// Ensure creates a projection at the beginning of the log, with its checkpoints, where they do not exist, and returns the number of
// its partitions. want is the number to expect; 0 means the number in the database, and Default for a new projection. It returns an
// error that wraps ErrMismatch if the database has another number, or ErrCount. Many processes may call it at once.
func Ensure(ctx context.Context, d db.DB, projection string, want int) (int, error) {
	if err := Create(ctx, d, []New{{Name: projection, Partitions: want}}); err != nil {
		return 0, err
	}
	return Complete(ctx, d, projection, want)
}

// Complete creates the checkpoints that a projection lacks, where it began, and returns the number of its partitions, as Ensure. It
// waits for a change of that number that is under way. An error wraps ErrGone if there is no such projection.
func Complete(ctx context.Context, d db.DB, projection string, want int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var have, made int
	err := db.WriteRow(ctx, d, []any{&have, &made}, sqlEnsureCheckpoints.For(d), projection)
	if errors.Is(err, pgx.ErrNoRows) {
		found, err := Find(ctx, d, []string{projection})
		if err != nil {
			return 0, err
		}
		return 0, found[projection].Gone(projection)
	}
	if err != nil {
		return 0, fmt.Errorf("partition: create the checkpoints of %s: %w", projection, db.Archived(err))
	}
	if want != 0 && want != have {
		return 0, fmt.Errorf("%w: %s is kept in %d, and %d were asked for (ask for %d, or for none to take what is there)",
			ErrMismatch, projection, have, want, have)
	}
	return have, nil
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// EnsureCheckpoints creates the checkpoints that the partitions of a projection lack, where it began, and returns the
// number of its partitions. It waits for a change of that number that is under way.
func EnsureCheckpoints(ctx context.Context, q Querier, projection string) (have int, err error) {
	var made int
	if err := q.QueryRow(ctx, sqlEnsureCheckpoints.In(""), projection).Scan(&have, &made); err != nil {
		return 0, fmt.Errorf("partition: create the checkpoints of %s: %w", projection, err)
	}
	return have, nil
}
