package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/rebuild"
	"github.com/rouse-es/rouse/partition"
)

// Start says where in the log a projection begins: rouse.Beginning, rouse.Now, rouse.Position or rouse.Time.
type Start = catchup.Start

// ParseStart returns the Start that a text stands for: beginning, now, a position, or a time as RFC 3339 has it, or a date. It returns
// an error that wraps ErrPosition for any other text.
func ParseStart(text string) (Start, error) {
	start, err := catchup.ParseStart(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrPosition, err)
	}
	return start, nil
}

// stopWait is how long Drop waits for the workers that are to stop.
const stopWait = 30 * time.Second

// Create makes the checkpoints of a projection or effect that no worker has run yet, or whose name is retired, and returns the position
// behind which it begins. from "" is the beginning. partitions is a power of two up to 1024; 0: the default, 32. A worker
// that is started afterwards goes on from there, whatever its StartFrom says; one that has stopped because the projection
// was dropped has to be started again. It returns an error that wraps ErrExists if there is such a projection already. The role needs the
// rights of rouse_worker, and those of the owner of the tables if the name is retired.
func Create(ctx context.Context, pool *pgxpool.Pool, name string, from Start, partitions int) (behind int64, err error) {
	if partitions == 0 {
		partitions = partition.Default
	}
	if err := errors.Join(checkName(name), partition.CheckCount(partitions)); err != nil {
		return 0, err
	}
	log, err := catchup.Open(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("projection: create %s: %w", name, err)
	}
	origin, err := from.Find(ctx, pool, log)
	if err != nil {
		return 0, startError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = db.Tx(ctx, pool, func(tx pgx.Tx) error {
		var exists, retired bool
		if err := tx.QueryRow(ctx, sqlCreateLook, name).Scan(&exists, &retired); err != nil {
			return err
		}
		if exists {
			return fmt.Errorf("%w: %s (projection.Reset, or rouse projection reset, has it start over)", ErrExists, name)
		}
		if retired {
			if _, err := tx.Exec(ctx, sqlRetiredForget, name); err != nil {
				return err
			}
		}
		return partition.CreateIn(ctx, tx, []partition.New{{Name: name, Partitions: partitions, Behind: origin.Position, Unseen: origin.Visible}})
	})
	if err != nil && !errors.Is(err, ErrExists) {
		err = fmt.Errorf("projection: create %s: %w", name, err)
	}
	return origin.Position, err
}

// startError returns err as one that wraps ErrPosition too if the start cannot be used.
func startError(err error) error {
	if errors.Is(err, catchup.ErrStart) {
		return fmt.Errorf("%w: %w", ErrPosition, err)
	}
	return fmt.Errorf("projection: look for the start: %w", err)
}

// checkName returns an error that wraps ErrName for a name that no projection can have.
func checkName(name string) error {
	if name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: %q is empty or not UTF-8", ErrName, name)
	}
	if strings.Contains(name, rebuild.Mark) {
		return fmt.Errorf("%w: %s has a %s, which stands in the names of what is built beside a projection", ErrName, name, rebuild.Mark)
	}
	return nil
}

// Drop ends a projection: its checkpoints, and the events that were set aside, retried or to be skipped, go in one transaction, and its name
// is retired, so that no worker of any version makes it anew; only Create does. Its read model is yours to drop.
//
// It is refused with an error that wraps ErrInUse while a living worker runs the projection, unless force is set. Then these workers stop
// it, with rouse.ErrDropped, and go on with their others; what is in hand is rolled back, and Drop waits until they have
// stopped, so that no event is handled after it has returned nil. An error that wraps ErrNotStopped names those that have not in 30 seconds; the
// projection is dropped nevertheless, and nothing that they do can be saved.
//
// What is built or kept beside it (Builds) has to be dropped before, under its own name, as which this is DropBuild; until then an error
// wraps ErrBeside. With force it goes with the projection, and with its tables.
//
// The role needs the rights of the owner of the tables.
func Drop(ctx context.Context, pool *pgxpool.Pool, name string, force bool) error {
	if strings.Contains(name, rebuild.Mark) {
		return DropBuild(ctx, pool, name)
	}
	if !force {
		return retire(ctx, pool, name, false, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sqlDrop, name)
			return err
		})
	}
	if err := dropForced(ctx, pool, name); err != nil {
		return err
	}
	return awaitStopped(ctx, pool, name)
}

// dropTries is how often a forced drop begins again when a worker that makes something beside the projection has come in between.
const dropTries = 5

// dropForced drops a projection with what is beside it. That goes first, each in its own transactions, in which nobody is in the way. A
// worker of a version above the live one makes it anew at once; what is there when the projection is locked goes in the same transaction.
func dropForced(ctx context.Context, pool *pgxpool.Pool, name string) error {
	for try := 1; ; try++ {
		builds, err := Builds(ctx, pool, name)
		if err != nil {
			return err
		}
		for _, b := range builds {
			if err := DropBuild(ctx, pool, b.Name); err != nil && !errors.Is(err, ErrNoBuild) {
				return err
			}
		}
		err = retire(ctx, pool, name, true, func(ctx context.Context, tx pgx.Tx) error {
			if err := rebuild.DropTablesIn(ctx, tx, name); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sqlDrop, name)
			return err
		})
		var pgErr *pgconn.PgError
		if try == dropTries || !errors.As(err, &pgErr) || pgErr.Code != "40P01" { // deadlock_detected
			return err
		}
	}
}

// Rename gives a projection another name, which its program says from the next start on. Checkpoints and what was set aside
// go with it, in one transaction, and the old name is retired. It is refused with an error that wraps ErrInUse while a living worker runs a
// projection of either name, with ErrBeside while something is built or kept beside it, and with ErrExists if there is one of the new name. A worker that starts with the old name stops it with
// rouse.ErrDropped, which says the new one. The role needs the rights of the owner of the tables.
func Rename(ctx context.Context, pool *pgxpool.Pool, name, to string) error {
	if err := errors.Join(checkName(name), checkName(to)); err != nil {
		return err
	}
	return retire(ctx, pool, name, false, func(ctx context.Context, tx pgx.Tx) error {
		var exists, retired bool
		if err := tx.QueryRow(ctx, sqlCreateLook, to).Scan(&exists, &retired); err != nil {
			return err
		}
		if exists {
			return fmt.Errorf("%w: %s", ErrExists, to)
		}
		if err := unused(ctx, tx, to); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlRename, name, to)
		return err
	})
}

// retire calls f, which takes the name of a projection away, in a transaction that has waited for all saves in flight and keeps out
// later ones.
func retire(ctx context.Context, pool *pgxpool.Pool, name string, force bool, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err := db.Tx(ctx, pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, sqlRetireLock, name).Scan(nil); errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %s", ErrNoProjection, name)
		} else if err != nil {
			return err
		}
		if !force {
			if err := unused(ctx, tx, name); err != nil {
				return err
			}
			if err := nothingBeside(ctx, tx, name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sqlResizeLockAll, name); err != nil {
			return err
		}
		return f(ctx, tx)
	})
	for _, own := range []error{ErrNoProjection, ErrInUse, ErrBeside, ErrExists} {
		if errors.Is(err, own) {
			return became(ctx, pool, name, err)
		}
	}
	if err != nil {
		return fmt.Errorf("projection: retire %s: %w", name, err)
	}
	return nil
}

// nothingBeside returns an error that wraps ErrInUse if a living worker builds or keeps something beside a projection, which it would make
// anew, and ErrBeside if there is something that no worker runs.
func nothingBeside(ctx context.Context, tx pgx.Tx, name string) error {
	var beside string
	if err := tx.QueryRow(ctx, sqlBeside, name).Scan(&beside); err != nil || beside == "" {
		return err
	}
	if err := unused(ctx, tx, beside); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s (rouse projection drop %s)", ErrBeside, beside, beside)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// running returns the labels of the living workers that run a projection.
func running(ctx context.Context, q querier, name string) ([]string, error) {
	rows, err := q.Query(ctx, sqlRunning, name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// unused returns an error that wraps ErrInUse if a living worker runs a projection.
func unused(ctx context.Context, tx pgx.Tx, name string) error {
	labels, err := running(ctx, tx, name)
	if err != nil || len(labels) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s is run by %s", ErrInUse, name, strings.Join(labels, ", "))
}

// awaitStopped waits until no living worker runs a projection that is dropped.
func awaitStopped(ctx context.Context, pool *pgxpool.Pool, name string) error {
	deadline := time.Now().Add(stopWait)
	for {
		lookCtx, cancel := context.WithTimeout(ctx, statementTimeout)
		labels, err := running(lookCtx, pool, name)
		cancel()
		switch {
		case err != nil:
			return fmt.Errorf("projection: %s is dropped; look whether its workers have stopped it: %w", name, err)
		case len(labels) == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %s is dropped, and %s has not stopped it yet (a call of its handler goes on; nothing of it is saved)",
				ErrNotStopped, name, strings.Join(labels, ", "))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("projection: %s is dropped; wait until its workers have stopped it: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
