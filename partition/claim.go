package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rouse-es/rouse/internal/db"
)

const (
	// Default is the number of partitions of a new projection, if no other is asked for: enough for 32 workers, few
	// enough that moving all their checkpoints costs about a millisecond.
	Default = 32

	statementTimeout = db.Timeout
)

var (
	// ErrMismatch means that a projection is kept in another number of partitions than the one asked for.
	ErrMismatch = errors.New("partition: the number of partitions differs from the database's")

	// ErrCount means that a number of partitions is not a power of two from 1 to 1024.
	ErrCount = errors.New("partition: the number of partitions must be a power of two from 1 to 1024")

	// ErrResized means that a projection has another number of partitions by now than the claim is for. Look again.
	ErrResized = errors.New("partition: the number of partitions has changed")
)

// Lease is the ownership of one partition: the epoch it is held under and the checkpoint it was claimed at.
type Lease struct {
	Partition    int
	Epoch, Floor int64

	// Inherited means that another instance owned the partition and had not given it up, so that one of the next events
	// may have caused its death.
	Inherited bool

	// Event is the id of the event that the checkpoint stands at, "" if that is not known.
	Event string

	// Spot is where the row of the checkpoint is, for catchup.SpotAt.
	Spot pgtype.TID
}

// CheckCount returns an error that wraps ErrCount unless n can be a number of partitions.
func CheckCount(n int) error {
	if n >= 1 && n <= 1024 && n&(n-1) == 0 {
		return nil
	}
	return fmt.Errorf("%w, and %d is not", ErrCount, n)
}

// Claim is a request for partitions of one projection by one instance, in one incarnation of the database.
type Claim struct {
	Projection, Instance, Token string
	Partitions                  []int

	// Of is the number of partitions that the projection was seen to have. If it has another now, nothing is claimed
	// and Claim returns an error that wraps ErrResized; so it does before the tables are there of what is built beside a projection.
	// 0: any number.
	Of int

	// Version is the version of the projection that the instance runs. If another one is live by now, nothing is claimed, as for Of,
	// with which alone it is looked at. 0: any.
	Version int

	// FromTheLiving takes partitions also from an owner that is alive. A static worker does so once, when it starts.
	FromTheLiving bool
}

// divisionByZero is what agreed.sql raises.
const divisionByZero = "22012"

// Claim takes those of the partitions that may be taken, in one round trip, and returns their leases in no particular order. Leases that
// the instance already holds are taken again under a new epoch, which also ends the work that an earlier connection of
// the same instance left in flight. It commits synchronously: a claim that a crash could undo would give one epoch to
// two workers.
func (c Claim) Claim(ctx context.Context, d db.DB) ([]Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var leases []Lease
	err := db.TxBatch(ctx, d, func(batch *pgx.Batch) {
		leases = nil
		batch.Queue(sqlClaim.For(d), c.Projection, c.Instance, ints(c.Partitions), c.Token, c.FromTheLiving).Query(func(rows pgx.Rows) (err error) {
			leases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Lease])
			return err
		})
		if c.Of != 0 {
			batch.Queue(sqlAgreed.For(d), c.Projection, c.Of, c.Version).Query(func(rows pgx.Rows) error {
				rows.Close()
				if codeOf(rows.Err()) == divisionByZero {
					return ErrResized
				}
				return rows.Err()
			})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("partition: claim partitions of %s: %w", c.Projection, named(err))
	}
	return leases, nil
}

// Release gives up partitions of a projection that an instance owns; nil means all of them. The epochs rise.
func Release(ctx context.Context, d db.DB, projection, instance string, partitions []int) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var which any // not a nil slice, which would be an empty array
	if partitions != nil {
		which = ints(partitions)
	}
	err := db.TxBatch(ctx, d, func(batch *pgx.Batch) {
		batch.Queue(sqlRelease.For(d), projection, instance, which)
	})
	if err != nil {
		return fmt.Errorf("partition: release the partitions of %s: %w", projection, named(err))
	}
	return nil
}

// named returns err with the cause of a lock timeout, which the server's own message does not have.
func named(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available
		return fmt.Errorf("another session holds the checkpoints (look for it in pg_locks): %w", err)
	}
	return err
}

// ints returns partitions as the parameter of a statement.
func ints(partitions []int) []int32 {
	out := make([]int32, len(partitions))
	for i, p := range partitions {
		out[i] = int32(p)
	}
	return out
}
