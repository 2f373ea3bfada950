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

// streams are the aggregates of events that were removed, each as often as it had one.
type streams struct{ types, ids []string }

// forgetRemoved deletes the snapshots of streams of which nothing is left, in the transaction that has removed it: one that begins anew behind that
// must not find any.
func (p *pruner) forgetRemoved(ctx context.Context, tx pgx.Tx, removed streams) error {
	if !p.opts.LastToo || len(removed.types) == 0 {
		return nil // the last of each stream is there
	}
	_, err := deleteSnapshots(ctx, tx, sqlForgetRemoved, removed.types, removed.ids)
	return err
}

// forgetSnapshots deletes the snapshots of all streams of which nothing is left, also of those that something else has removed.
func (p *pruner) forgetSnapshots(ctx context.Context) error {
	return p.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := deleteSnapshots(ctx, tx, sqlForgetSnapshots)
		return err
	})
}
