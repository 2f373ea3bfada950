package projector

import (
	"context"
	"fmt"
	"time"

	"github.com/rouse-es/rouse/internal/db"
)

// confirmPause is the time between two looks at a claim that does not hold any more, or at a reset that is still to be done.
const confirmPause = 20 * time.Millisecond

// claim is what a session owns, as far as its progress depends on it.
type claim struct {
	partitions []int32
	epochs     []int64
}

// owns returns what the session has claimed.
func (s *session) owns() (of claim) {
	of.partitions, of.epochs = s.checkpoints.Epochs()
	return of
}

// Wait returns once everything up to position to has been handled, the projection is stopped, or ctx ends. What this process remembers
// is not enough for that: somebody may have asked for the projection to start over, or another worker have done so.
func (p *Projector) Wait(ctx context.Context, to int64) error {
	for {
		of, err := p.progress.wait(ctx, to)
		if err != nil {
			return err
		}
		holds, err := p.confirm(ctx, of, to)
		if err != nil || holds {
			return err
		}
		select {
		case <-time.After(confirmPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// confirm reports whether a claim still holds, or the checkpoints are at position to whoever owns them, and no reset is asked for.
func (p *Projector) confirm(ctx context.Context, of claim, to int64) (holds bool, err error) {
	queryCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	pool := p.cfg.Process.Pool
	err = db.QueryRow(queryCtx, pool, []any{&holds}, sqlConfirm.For(pool), p.cfg.Name, p.cfg.Process.Instance, of.partitions, of.epochs, to)
	switch {
	case err == nil:
		return holds, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	}
	return false, fmt.Errorf("rouse: look whether %s is to start over: %w", p.cfg.Name, err)
}
