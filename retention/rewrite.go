package retention

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rewrite writes an archive in dir anew without what was erased, and returns it; nil if its file is not there. The tags of what was erased go
// too, which is of how many events. Killed in the middle it leaves
// the old file, or one under a name that Prune, Restore and the next Erase know.
func rewrite(ctx context.Context, pool *pgxpool.Pool, a Archive, dir string) (_ *Archive, tagged int64, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, 0, err
	}
	path := filepath.Join(dir, a.name())
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if path, err = a.find(dir); err != nil {
		return nil, 0, err
	}
	erased, err := erasures(ctx, pool)
	if err != nil {
		return nil, 0, err
	}
	d, err := newDraft(dir, a.First, 0)
	if err != nil {
		return nil, 0, err
	}
	defer d.drop()
	var ids []string
	m, err := scan(path, func(_ []byte, r *record) error {
		if erased.cover(r) {
			ids = append(ids, r.ID)
		}
		if !erased.apply(r) {
			return nil
		}
		return d.add(r)
	})
	if err != nil {
		return nil, 0, err
	}
	d.m.Last, d.m.Schema = a.Last, m.Schema
	if err := d.finish(); err != nil {
		return nil, 0, err
	}
	tmp, err := d.store(dir)
	if err != nil {
		return nil, 0, err
	}
	done := a
	done.Events, done.SHA256, done.Path = d.m.Count, d.m.SHA256, path
	err = locked(ctx, pool, statementTimeout, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlRewritten, a.First, m.sum(), done.Events, d.m.sum(), []byte(newFilter(d.streams)), path)
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%w: another process has changed it (run it again)", ErrDiffers)
		}
		if err == nil {
			err = tx.QueryRow(ctx, sqlEraseTags, "", "", ids).Scan(&tagged)
		}
		return err
	})
	if err != nil {
		_ = os.Remove(tmp)
		return nil, 0, err
	}
	return &done, tagged, publish(tmp, path)
}
