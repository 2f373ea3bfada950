package retention

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// written is an archive that was just written.
type written struct {
	Archive
	file    string // where it can be read
	streams filter
}

// write writes the next archive and notes it in the database; nil if nothing may be archived. Without a directory the file is a temporary
// one, whose content went to Out, and it is not noted.
func (p *pruner) write(ctx context.Context) (*written, error) {
	dir := p.opts.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	d, err := newDraft(dir, p.behind+1, p.schema)
	if err != nil {
		return nil, err
	}
	defer d.drop()
	if err := p.fill(ctx, d); err != nil || d.m.Count == 0 {
		return nil, err
	}
	a := &written{streams: newFilter(d.streams)}
	a.Archive = Archive{First: d.m.First, Last: d.m.Last, Events: d.m.Count, SHA256: d.m.SHA256, Path: d.m.Name(), RemovedTo: d.m.First - 1, CreatedAt: d.m.CreatedAt}
	if p.opts.Dir != "" {
		a.Path = filepath.Join(dir, a.Path)
		if _, err := os.Lstat(a.Path); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrExists, a.Path)
		}
	}
	if a.file, err = d.store(dir); err != nil {
		return nil, err
	}
	if err := p.settle(ctx, a, d); err != nil {
		_ = os.Remove(a.file)
		return nil, err
	}
	return a, nil
}

// fill adds the events that may be archived to a draft, as far as a file goes.
func (p *pruner) fill(ctx context.Context, d *draft) error {
	for behind := p.behind; d.m.Count < int64(p.opts.FileEvents); behind = d.m.Last {
		n, err := p.read(ctx, behind, min(p.opts.Batch, p.opts.FileEvents-int(d.m.Count)), d)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if err := d.finish(); err != nil {
		return fmt.Errorf("retention: write %s: %w", d.m.Name(), err)
	}
	return nil
}

// settle notes a stored archive and gives its file its name; without a directory it writes the content to Out. Once it is noted the next
// Prune finds it, under whichever name it has.
func (p *pruner) settle(ctx context.Context, a *written, d *draft) error {
	if p.opts.Dir == "" {
		if err := d.copyTo(p.opts.Out); err != nil {
			return fmt.Errorf("retention: write %s: %w (nothing was removed)", d.m.Name(), err)
		}
		return nil // it is noted with the removal, in one transaction
	}
	if err := syncDir(p.opts.Dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := register(ctx, p.pool, a); err != nil {
		return err
	}
	tmp := a.file
	a.file = a.Path
	return publish(tmp, a.Path)
}

type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func register(ctx context.Context, q rower, a *written) error {
	var first int64
	err := q.QueryRow(ctx, sqlRegister, a.First, a.Last, a.Events, Manifest{SHA256: a.SHA256}.sum(), a.Path, []byte(a.streams)).Scan(&first)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("retention: another process has archived from position %d on (nothing was removed by this one; run it again)", a.First)
	}
	if err != nil {
		return fmt.Errorf("retention: note %s: %w", a.name(), err)
	}
	return nil
}

// read adds events to a draft, and returns how many.
func (p *pruner) read(ctx context.Context, behind int64, limit int, d *draft) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := p.pool.Query(ctx, sqlRead, behind, p.until, p.cutoff, limit)
	if err == nil {
		err = records(rows, func(r *record) error { n++; return d.add(r) })
	}
	if err != nil {
		return 0, fmt.Errorf("retention: read events behind position %d: %w", behind, err)
	}
	return n, nil
}
