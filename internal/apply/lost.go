package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// witnessTimeout bounds the look at the other sessions when one was lost: an answer that takes longer is none.
const witnessTimeout = 3 * time.Second

// lost returns err, with which a session ended under ctx, with whose doing that is. It is an outage where no handler had
// statements in the session, or other sessions of the pool were lost too, or none can be had; and the handler's own where it has
// let the context of a statement end. What is left may be the work's or somebody's who ends sessions: lostAlone.
func (t *transactions) lost(ctx context.Context, w *working, err error) error {
	switch {
	case isJudged(err):
		return err
	case w == nil || t.effects || ctx.Err() != nil:
		return outage{fmt.Errorf("rouse: the session was lost: %w", err)}
	case errors.Is(err, errSlowCommit):
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return told{fmt.Errorf("%w: %w", errGaveUp, err)}
	}
	if other := t.witness(ctx); other != nil {
		return outage{fmt.Errorf("%w: %w (and the session was lost: %w)", errUnanswered, other, err)}
	}
	return lostAlone{fmt.Errorf("%w: %w", errLostAlone, err)}
}

// witness returns the error of another session of the pool that was lost, or of one that cannot be had; nil if all are well.
func (t *transactions) witness(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	idle := t.pool.AcquireAllIdle(ctx)
	for _, conn := range idle {
		err = errors.Join(err, ping(ctx, conn))
	}
	if len(idle) > 0 {
		return err
	}
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	return ping(ctx, conn)
}

// ping asks whether the session of conn lives, and gives conn back.
func ping(ctx context.Context, conn *pgxpool.Conn) error {
	defer conn.Release()
	return conn.Conn().Ping(ctx)
}
