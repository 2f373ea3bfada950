package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// Default is how many partitions a projection gets if nobody says otherwise: enough for 32 workers, few enough that
	// moving all their checkpoints costs about a millisecond.
	Default = 32

	statementTimeout = 10 * time.Second

	// lockTimeout is how long a claim waits for a save in flight. A session that holds on for longer than this is frozen, or
	// its handler is slow; the claim is tried again.
	lockTimeout = "5s"
)

var (
	// ErrMismatch means that a projection is kept in another number of partitions than the one asked for.
	ErrMismatch = errors.New("partition: the number of partitions differs from the database's")

	// ErrCount means that a number of partitions is not a power of two from 1 to 1024.
	ErrCount = errors.New("partition: the number of partitions must be a power of two from 1 to 1024")
)

// Lease is the ownership of one partition: the epoch it is held under and the checkpoint it was claimed at.
type Lease struct {
	Partition    int
	Epoch, Floor int64

	// Inherited means that another instance owned it and had not given it up, so it may have died of one of the next events.
	Inherited bool
}

// Ensure makes sure that a projection and its checkpoints exist and returns how many partitions it has. want 0 means
// whatever the database says, and Default for a new projection. Many processes may call it at once.
func Ensure(ctx context.Context, pool *pgxpool.Pool, projection string, want int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	create := want
	if create == 0 {
		create = Default
	}
	if !valid(create) {
		return 0, fmt.Errorf("%w, and %d is not", ErrCount, want)
	}
	if _, err := pool.Exec(ctx, sqlEnsureInsert, projection, create); err != nil {
		return 0, fmt.Errorf("partition: create projection %s: %w", projection, err)
	}
	var have, made int
	if err := pool.QueryRow(ctx, sqlEnsureCheckpoints, projection).Scan(&have, &made); err != nil {
		return 0, fmt.Errorf("partition: create the checkpoints of %s: %w", projection, err)
	}
	if want != 0 && want != have {
		return 0, fmt.Errorf("%w: %s is kept in %d, and %d were asked for (ask for %d, or for none to take what is there)",
			ErrMismatch, projection, have, want, have)
	}
	return have, nil
}

// Claim is a request for partitions of one projection by one instance, in one incarnation of the database.
type Claim struct {
	Projection, Instance, Token string
	Partitions                  []int

	// Of is how many partitions the projection was seen to have. If that is no longer so, nothing is claimed and Claim returns
	// ErrResized. 0: that does not matter.
	Of int

	// FromTheLiving takes partitions also from an owner that is alive. A static worker does so once, when it starts.
	FromTheLiving bool
}

// Claim takes what may be taken of the partitions asked for, and returns it in no particular order. Leases already held are
// taken again under a new epoch, which also ends whatever an earlier connection of the same instance left in flight. It
// commits synchronously: a claim that a crash could undo would give one epoch to two workers.
func (c Claim) Claim(ctx context.Context, pool *pgxpool.Pool) ([]Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var leases []Lease
	err := durably(ctx, pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlClaim, c.Projection, c.Instance, ints(c.Partitions), c.Token, c.FromTheLiving)
		if err != nil {
			return err
		}
		if leases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Lease]); err != nil || c.Of == 0 {
			return err
		}
		var agreed bool
		if err := tx.QueryRow(ctx, sqlAgreed, c.Projection, c.Of).Scan(&agreed); err != nil || agreed {
			return err
		}
		return ErrResized
	})
	if err != nil {
		return nil, fmt.Errorf("partition: claim partitions of %s: %w", c.Projection, named(err))
	}
	return leases, nil
}

// Release gives up partitions of a projection that an instance owns; nil means all of them.
func Release(ctx context.Context, pool *pgxpool.Pool, projection, instance string, partitions []int) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var which any // not a nil slice, which would be an empty array
	if partitions != nil {
		which = ints(partitions)
	}
	err := durably(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlRelease, projection, instance, which)
		return err
	})
	if err != nil {
		return fmt.Errorf("partition: release the partitions of %s: %w", projection, named(err))
	}
	return nil
}

// named says what a lock timeout is about, which the server's own words do not.
func named(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available
		return fmt.Errorf("another session holds the checkpoints (look for it in pg_locks): %w", err)
	}
	return err
}

// durably runs f in a READ COMMITTED transaction that commits synchronously and waits for locks only so long.
func durably(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		const settings = `select set_config('lock_timeout', $1, true),
			case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end`
		if _, err := tx.Exec(ctx, settings, lockTimeout); err != nil {
			return err
		}
		return f(tx)
	})
}

func ints(partitions []int) []int32 {
	out := make([]int32, len(partitions))
	for i, p := range partitions {
		out[i] = int32(p)
	}
	return out
}
