package retention

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// deleteSnapshots deletes snapshots of aggregates, by a statement, and keeps others from being made until the transaction has committed. It returns
// how many there were.
func deleteSnapshots(ctx context.Context, tx pgx.Tx, sql string, args ...any) (int64, error) {
	var is bool
	if err := tx.QueryRow(ctx, sqlHasSnapshots).Scan(&is); err != nil {
		return 0, fmt.Errorf("retention: look for the table of snapshots: %w", err)
	}
	if !is {
		return 0, nil
	}
	if _, err := tx.Exec(ctx, sqlLockSnapshots); err != nil {
		return 0, fmt.Errorf("retention: lock the table of snapshots: %w", err)
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return 0, fmt.Errorf("retention: delete snapshots: %w", err)
	}
	return tag.RowsAffected(), nil
}

// forgetSnapshots deletes the snapshots of streams of which nothing is left.
func (p *pruner) forgetSnapshots(ctx context.Context) error {
	return p.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := deleteSnapshots(ctx, tx, sqlForgetSnapshots)
		return err
	})
}
