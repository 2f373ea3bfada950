package retention

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Events of a restore are inserted in short transactions, because appends that are made beside one are not handled before it ends.
const (
	restoreEvents = 500
	restoreBytes  = 1 << 20
)

// Restored is what Restore has done.
type Restored struct {
	// Archives are those whose events are in the log again, the last first. Events is how many were put there: those that had stayed are not counted,
	// nor those that were erased.
	Archives []Archive `json:"archives"`
	Events   int64     `json:"events"`

	// WholeFrom is the position behind which the log has every event now; 0: it has all.
	WholeFrom int64 `json:"whole_from"`
}

// Restore puts the events of archives back into the log, at their positions, from the last archive down to the one that holds the event behind
// position from; 0: all of them. Files are looked for in dir, and where they were written. What was erased stays erased. Projections do not
// handle the events again, because they are below all checkpoints; but one that is rebuilt or reset may begin among them. Appends and workers
// go on meanwhile. It fails where another event stands at a position. If it ends before its time, call it again.
func Restore(ctx context.Context, pool *pgxpool.Pool, dir string, from int64) (Restored, error) {
	out := Restored{Archives: []Archive{}}
	archives, err := Archives(ctx, pool)
	if err != nil {
		return out, err
	}
	if _, err := checkColumns(ctx, pool); err != nil {
		return out, err
	}
	for _, a := range slices.Backward(archives) {
		if a.Last <= from {
			break
		}
		if a.RemovedTo < a.First { // all of it is in the log
			continue
		}
		n, err := restore(ctx, pool, a, dir)
		out.Events += n
		if err != nil {
			return out, err
		}
		a.RemovedTo = a.First - 1
		out.Archives = append(out.Archives, a)
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := pool.QueryRow(ctx, "select whole_from from rouse_retention").Scan(&out.WholeFrom); err != nil {
		return out, fmt.Errorf("retention: look behind which position the log is whole: %w", err)
	}
	return out, nil
}

// restore puts the events of one archive back, and returns how many.
func restore(ctx context.Context, pool *pgxpool.Pool, a Archive, dir string) (total int64, err error) {
	path, err := a.find(dir)
	if err != nil {
		return 0, err
	}
	erased, err := erasures(ctx, pool)
	if err != nil {
		return 0, err
	}
	var batch []*record
	size := 0
	flush := func() error {
		n, err := insert(ctx, pool, batch)
		total += n
		batch, size = batch[:0], 0
		return err
	}
	_, err = scan(path, func(line []byte, r *record) error {
		if !erased.apply(r) {
			return nil
		}
		batch, size = append(batch, r), size+len(line)
		if len(batch) < restoreEvents && size < restoreBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return total, err
	}
	return total, lower(ctx, pool, a, path)
}

// insert puts events at their positions where there are none.
func insert(ctx context.Context, pool *pgxpool.Pool, batch []*record) (int64, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	positions, versions, typeVersions := make([]int64, len(batch)), make([]int64, len(batch)), make([]int32, len(batch))
	texts := make([][]string, 7)
	for i, r := range batch {
		positions[i], versions[i], typeVersions[i] = r.Position, r.Version, int32(r.TypeVer)
		for n, text := range []string{r.ID, r.AggType, r.AggID, r.Type, r.payload(), r.metadata(), r.CreatedAt} {
			texts[n] = append(texts[n], text)
		}
	}
	tag, err := pool.Exec(ctx, sqlRestore, positions, texts[0], texts[1], texts[2], versions, texts[3], typeVersions, texts[4], texts[5], texts[6])
	if err != nil {
		return 0, fmt.Errorf("retention: restore events from position %d on: %w", batch[0].Position, err)
	}
	return tag.RowsAffected(), nil
}

// lower notes that the events of an archive are in the log, once every one of them is there as it is in the file, or as it was erased.
func lower(ctx context.Context, pool *pgxpool.Pool, a Archive, path string) error {
	return locked(ctx, pool, fileTimeout, func(ctx context.Context, tx pgx.Tx) error {
		var removed, last int64
		var sum []byte
		if err := tx.QueryRow(ctx, sqlLockArchive, a.First).Scan(&removed, &last, &sum); err != nil {
			return fmt.Errorf("retention: look at the archive from position %d on: %w", a.First, err)
		}
		if last != a.Last || hex.EncodeToString(sum) != a.SHA256 {
			return fmt.Errorf("%w: another process has changed the archive from position %d on (run it again)", ErrDiffers, a.First)
		}
		if err := compare(ctx, tx, a, path); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlRemoved, a.First, a.First-1)
		return err
	})
}

// compare returns an error that wraps ErrDiffers unless the log has exactly the events of an archive, as far as they were not erased.
func compare(ctx context.Context, tx pgx.Tx, a Archive, path string) error {
	erased, err := erasures(ctx, tx)
	if err != nil {
		return err
	}
	sums := map[int64][sha256.Size]byte{}
	_, err = scan(path, func(_ []byte, r *record) error {
		if erased.apply(r) {
			sums[r.Position] = sha256.Sum256(r.line())
		}
		return nil
	})
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sqlStand, a.First, a.Last)
	if err == nil {
		err = records(rows, func(r *record) error {
			if sum, is := sums[r.Position]; !is || sum != sha256.Sum256(r.line()) {
				return fmt.Errorf("%w: at position %d the log has another event than the archive", ErrDiffers, r.Position)
			}
			delete(sums, r.Position)
			return nil
		})
	}
	switch {
	case err != nil:
		return err
	case len(sums) > 0:
		return fmt.Errorf("%w: %d events of %s are not in the log, because another event has their id or version, or somebody removes them", ErrDiffers, len(sums), a.name())
	}
	return nil
}
