package rouse

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Resetter is a Projection that can empty its read model, so that it can start over.
type Resetter interface {
	// Reset empties the read model through tx, which also moves the checkpoints. It must not commit or roll back tx.
	Reset(ctx context.Context, tx pgx.Tx) error
}

// resetTimeout bounds one attempt to start over, emptying the read model included.
const resetTimeout = 10 * time.Minute

const noReset = "the projection cannot empty its read model (implement rouse.Resetter, or ask with force if events may be applied to it again)"

// reset starts the projection over if that is still wanted, in one transaction.
func (r *runner) reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, r.w.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var to *int64
		var force, back bool
		if err := tx.QueryRow(ctx, sqlResetLock, r.name).Scan(&to, &force, &back); err != nil || to == nil {
			return err // or somebody else was faster
		}
		resetter, can := optional(r.work.projection).(Resetter)
		if back && !can && !force {
			r.log.Error().Int64(keyPosition, *to).Msg("the projection is not started over: it cannot empty its read model (implement rouse.Resetter, or ask with force)")
			_, err := tx.Exec(ctx, sqlResetRefused, r.name, noReset)
			return err
		}
		if can {
			if err := safely(func() error { return resetter.Reset(ctx, handlerTx{tx}) }); err != nil {
				return fmt.Errorf("rouse: empty the read model of %s: %w", r.name, err)
			}
		}
		if _, err := tx.Exec(ctx, sqlReset, r.name, *to); err != nil {
			return fmt.Errorf("rouse: start %s over: %w", r.name, err)
		}
		r.log.Warn().Int64(keyPosition, *to).Msg("the projection starts over, as somebody asked for")
		return nil
	})
}
