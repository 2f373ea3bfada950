package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/db"
)

const (
	// resetTimeout bounds one try to start over, with the emptying of the read model.
	resetTimeout = 10 * time.Minute

	// maxResetTries is how often a reset is tried before the request is taken back: after pauses of 1, 2, 4 seconds and so on up
	// to a minute, so for about four minutes beside what the tries take.
	maxResetTries = 10

	maxResetPause = time.Minute
)

// errNoReset means that a projection has nothing to empty its read model with.
var errNoReset = errors.New("the projection cannot empty its read model (implement rouse.Resetter, or ask with force if events may be applied to it again)")

// wish is a reset that is requested.
type wish struct {
	to          int64 // behind which position
	force, back bool  // force: also where the read model cannot be emptied; back: it goes back behind a checkpoint
	tries       int   // that have failed
}

// startOver resets a projection if that is still requested, in one transaction with cfg.Reset, which empties the read model. Without
// one, going back is refused unless it is forced. A try that fails is written down, with the time of the next; then read model and
// checkpoints are as they were, and the caller goes on from them. It returns an error if it could not even be written down.
func (p *Projector) startOver(ctx context.Context) error {
	p.pulse.WorkingFor(resetTimeout + time.Minute) // also behind another worker that does it
	defer p.pulse.Working()
	tryCtx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	pool := p.cfg.Process.Pool
	var w *wish
	var failed error
	err := apply.InTransaction(tryCtx, pool, p.cfg.Process.Presence, resetTimeout, func(tx pgx.Tx, restore func() error) (err error) {
		if w, err = p.wished(tryCtx, tx); err != nil || w == nil {
			return err // or another worker was faster
		}
		if w.back && p.cfg.Reset == nil && !w.force {
			failed = errNoReset
		} else if failed, err = p.empty(tryCtx, tx, restore); err != nil {
			return err
		}
		if failed != nil { // in the same transaction: others wait for it, and would try at once
			return p.noteFailedReset(tryCtx, tx, *w, failed)
		}
		if _, err := tx.Exec(tryCtx, sqlReset.For(pool), p.cfg.Name, w.to); err != nil {
			return fmt.Errorf("rouse: start %s over: %w", p.cfg.Name, db.Archived(err))
		}
		return nil
	})
	switch {
	case w == nil || ctx.Err() != nil:
		return err
	case err == nil && failed == nil:
		p.log.Warn().Int64(keyPosition, w.to).Msg("the projection starts over, as somebody asked for")
		return nil
	case err == nil:
		return nil
	}
	// The transaction is gone: with its connection, with its time, at the commit, or because Reset has ended it.
	noteCtx, cancelNote := context.WithTimeout(ctx, statementTimeout)
	defer cancelNote()
	noteErr := db.Tx(noteCtx, pool, func(tx pgx.Tx) error { return p.noteFailedReset(noteCtx, tx, *w, err) })
	if noteErr != nil {
		return errors.Join(err, noteErr)
	}
	return nil
}

// wished locks the projection's row and returns the reset that is requested and due, nil if there is none.
func (p *Projector) wished(ctx context.Context, tx pgx.Tx) (*wish, error) {
	var to *int64
	var due bool
	var w wish
	err := tx.QueryRow(ctx, sqlResetLock.For(p.cfg.Process.Pool), p.cfg.Name).Scan(&to, &w.force, &w.back, &w.tries, &due)
	if err != nil || to == nil || !due {
		return nil, err
	}
	w.to = *to
	return &w, nil
}

// empty calls cfg.Reset, if there is one, restores what it may have set in the transaction, and returns its error as failed; then
// nothing of what it has done is left. err is the error of a transaction that cannot go on.
func (p *Projector) empty(ctx context.Context, tx pgx.Tx, restore func() error) (failed, err error) {
	if p.cfg.Reset == nil {
		return nil, nil
	}
	inner, err := tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	handlerTx := apply.NewHandlerTx(inner)
	failed = apply.Apart(func() error { return p.cfg.Reset(ctx, handlerTx) })
	handlerTx.Return()
	if failed != nil {
		failed = fmt.Errorf("rouse: empty the read model of %s: %w", p.cfg.Name, failed)
		if err := inner.Rollback(ctx); err != nil {
			return nil, errors.Join(failed, err)
		}
		return failed, restore()
	}
	if err := restore(); err != nil {
		return nil, err
	}
	return nil, inner.Commit(ctx)
}

// noteFailedReset writes down that a try has failed and why, and when to try next. After the last one, or where another one mends
// nothing, it takes the request back.
func (p *Projector) noteFailedReset(ctx context.Context, tx pgx.Tx, w wish, failed error) error {
	tries := w.tries + 1
	given := tries >= maxResetTries || apply.IsPermanent(failed) || errors.Is(failed, errNoReset) || errors.Is(failed, db.ErrArchived)
	pause := min(time.Second<<min(w.tries, 10), maxResetPause)
	log := p.log.With().Err(failed).Int(keyTries, tries).Int64(keyPosition, w.to).Logger()
	if given {
		log.Error().Msg("the projection is not started over, and the request is taken back")
	} else {
		log.Warn().Msg("the projection is not started over yet, trying again after a pause; meanwhile it goes on as it was")
	}
	_, err := tx.Exec(ctx, sqlResetFailed.For(p.cfg.Process.Pool), p.cfg.Name, w.to, tries, apply.Reason(failed), pause.Milliseconds(), given)
	return err
}
