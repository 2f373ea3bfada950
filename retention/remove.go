package retention

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

// errBatch ends a scan whose rest is not wanted.
var errBatch = errors.New("the batch failed")

// lines are events of an archive that are removed in one transaction: their positions, in order, the sums of their lines, and their streams.
type lines struct {
	positions []int64
	sums      map[int64][sha256.Size]byte
	streams   map[int64][sha256.Size]byte
}

func (l *lines) add(r *record, line []byte) {
	if l.sums == nil {
		l.sums, l.streams = map[int64][sha256.Size]byte{}, map[int64][sha256.Size]byte{}
	}
	l.positions = append(l.positions, r.Position)
	l.sums[r.Position], l.streams[r.Position] = sha256.Sum256(line), r.stream()
}

// removeWritten removes what is in an archive that was just written. What went to Out goes in one transaction with the note of it, since
// nothing could go on with it.
func (p *pruner) removeWritten(ctx context.Context, a *written) (n int64, err error) {
	if p.opts.Dir != "" {
		return p.remove(ctx, &a.Archive, a.file)
	}
	defer os.Remove(a.file)
	var all lines
	if _, err := scan(a.file, func(line []byte, r *record) error { all.add(r, line); return nil }); err != nil {
		return 0, err
	}
	err = locked(ctx, p.pool, fileTimeout, func(ctx context.Context, tx pgx.Tx) error {
		if err := register(ctx, tx, a); err != nil {
			return err
		}
		n, err = p.removeIn(ctx, tx, &a.Archive, all, a.Last)
		return err
	})
	if err != nil {
		return 0, err
	}
	a.RemovedTo = a.Last
	return n, nil
}

// remove removes what is in an archive from the log, in batches, from where an earlier Prune has come to, and returns how many events.
func (p *pruner) remove(ctx context.Context, a *Archive, path string) (total int64, err error) {
	var batch lines
	var failed error
	flush := func(to int64) error {
		var n int64
		err := p.tx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			n, err = p.removeIn(ctx, tx, a, batch, to)
			return err
		})
		if err != nil {
			failed = err
			return errBatch
		}
		total += n
		a.RemovedTo = to
		batch = lines{}
		return nil
	}
	before := int64(0)
	m, err := scan(path, func(line []byte, r *record) error {
		if len(batch.positions) >= p.opts.Batch {
			if err := flush(before); err != nil {
				return err
			}
		}
		batch.add(r, line)
		before = r.Position
		return nil
	})
	switch {
	case failed != nil:
		return total, failed
	case err != nil:
		return total, err
	case !a.is(m):
		return total, fmt.Errorf("%w: %s is not the one that was archived", ErrFile, path)
	}
	if flush(a.Last) != nil {
		return total, failed
	}
	return total, nil
}

// removeIn removes a batch in a transaction that keeps checkpoints from being set back, and notes that the events up to position to are gone.
// Whatever does not agree with the file fails, and with it the transaction.
func (p *pruner) removeIn(ctx context.Context, tx pgx.Tx, a *Archive, batch lines, to int64) (n int64, err error) {
	var removed, last int64
	var sum []byte
	if err := tx.QueryRow(ctx, sqlLockArchive, a.First).Scan(&removed, &last, &sum); err != nil {
		return 0, fmt.Errorf("retention: look at the archive from position %d on: %w", a.First, err)
	}
	if last != a.Last || hex.EncodeToString(sum) != a.SHA256 {
		return 0, fmt.Errorf("%w: another process has changed the archive from position %d on (run it again)", ErrDiffers, a.First)
	}
	if removed >= to {
		return 0, nil // another process was faster
	}
	until, held, err := holders(ctx, tx, p.opts.Ignore)
	switch {
	case err != nil:
		return 0, err
	case to > until:
		return 0, fmt.Errorf("%w: %s allows no more than up to position %d, and events up to %d are archived", ErrHeld, held[0].name(), until, to)
	}
	for len(batch.positions) > 0 && batch.positions[0] <= removed {
		batch.positions = batch.positions[1:]
	}
	if len(p.opts.Ignore) > 0 {
		if _, err := tx.Exec(ctx, sqlFenceIgnored, p.opts.Ignore, to); err != nil {
			return 0, fmt.Errorf("retention: take partitions from the projections that are ignored: %w", err)
		}
	}
	if n, err = p.removeLines(ctx, tx, batch); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, sqlRemoved, a.First, to); err != nil {
		return 0, fmt.Errorf("retention: note what was removed: %w", err)
	}
	return n, nil
}

// removeLines deletes the events of a batch, and compares each with its line.
func (p *pruner) removeLines(ctx context.Context, tx pgx.Tx, batch lines) (n int64, err error) {
	erased, err := erasures(ctx, tx)
	if err != nil {
		return 0, err
	}
	var removed streams
	rows, err := tx.Query(ctx, sqlRemove, batch.positions, p.opts.LastToo)
	if err == nil {
		err = records(rows, func(r *record) error {
			n++
			removed.types, removed.ids = append(removed.types, r.AggType), append(removed.ids, r.AggID)
			if sha256.Sum256(r.line()) != batch.sums[r.Position] && !erased.cover(r) {
				return fmt.Errorf("%w: the event at position %d is not what was archived", ErrDiffers, r.Position)
			}
			return nil
		})
	}
	if err != nil {
		return 0, fmt.Errorf("retention: remove events: %w", err)
	}
	var stay int64
	if err := tx.QueryRow(ctx, sqlLeft, batch.positions).Scan(&stay); err != nil {
		return 0, fmt.Errorf("retention: count the events that stay: %w", err)
	}
	deleted := int64(0)
	for _, position := range batch.positions {
		if one := erased.of(batch.streams[position], position); one != nil && one.payload == nil && one.last != position {
			deleted++
		}
	}
	if missing := int64(len(batch.positions)) - n - stay; missing < 0 || missing > deleted {
		return 0, fmt.Errorf("%w: %d of the events that were archived are not in the log", ErrDiffers, missing)
	}
	return n, p.forgetRemoved(ctx, tx, removed)
}

func (h Holder) name() string {
	switch h.Why {
	case "last":
		return "the last event of the log"
	case "horizon":
		return "an append that is still open"
	}
	return h.Projection
}
