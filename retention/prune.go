package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
)

const (
	defaultBatch      = 10_000
	defaultFileEvents = 1_000_000
)

// PruneOptions say what Prune removes and where to.
type PruneOptions struct {
	// OlderThan keeps what is younger. 0: whatever every projection has handled goes.
	OlderThan time.Duration

	// Dir is where archives are written. "": one archive goes to Out, which cannot be read back: what its reader loses is lost.
	Dir string
	Out io.Writer

	// LastToo removes also the last event of a stream. Append then takes the stream for a new one, and gives versions out again. Snapshots of
	// such streams (aggregate.Snapshot) are deleted.
	LastToo bool

	// Ignore names projections that may lose events that they have not handled. They are stopped where they do.
	Ignore []string

	// Batch is the number of events that are removed in one transaction, and FileEvents the number in one archive. 0: 10,000 and
	// 1,000,000. Out is one transaction.
	Batch, FileEvents int
}

// Holder is what keeps events in the log.
type Holder struct {
	// Projection is the name; "": it is the last event of the log, which always stays.
	Projection string `json:"projection,omitempty"`
	State      string `json:"state,omitempty"`

	// Why is checkpoint, parked, reset, last, or horizon, behind which appends are still open. Position is up to where it lets events go.
	Why      string `json:"why"`
	Position int64  `json:"position"`
}

// Plan is what Prune would do.
type Plan struct {
	// Events is the number of events that would be archived, from First to Last.
	Events int64 `json:"events"`
	First  int64 `json:"first"`
	Last   int64 `json:"last"`

	// Until is the position up to which events may go if they are old enough, and Holders what may not let more go, the lowest first.
	Until   int64    `json:"until"`
	Holders []Holder `json:"holders"`

	// Unfinished are archives whose events are not all removed: of a Prune that was interrupted, or restored. They come first.
	Unfinished []Archive `json:"unfinished,omitempty"`
}

// Pruned is what Prune has done.
type Pruned struct {
	Plan

	// Archives are those that were written, or whose removal went on. Removed is the number of events that left the log, and Superseded of
	// those that had stayed before as the last of streams and are not any more.
	Archives   []Archive `json:"archives"`
	Removed    int64     `json:"removed"`
	Superseded int64     `json:"superseded"`
}

// PlanPrune returns what Prune would do now. It changes nothing.
func PlanPrune(ctx context.Context, pool *pgxpool.Pool, opts PruneOptions) (Plan, error) {
	p, err := begin(ctx, pool, opts)
	if err != nil {
		return Plan{}, err
	}
	queryCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = pool.QueryRow(queryCtx, sqlPlan, p.behind, p.until, p.cutoff).Scan(&p.Events, &p.First, &p.Last)
	if err != nil {
		return Plan{}, fmt.Errorf("retention: count the events: %w", err)
	}
	return p.Plan, nil
}

// Prune writes events that every projection has handled and that are old enough into archives, and removes them from the log. It first
// goes on with what an earlier one, or a Restore, has left. On an error, what it returns is what was done until then.
func Prune(ctx context.Context, pool *pgxpool.Pool, opts PruneOptions) (Pruned, error) {
	p, err := begin(ctx, pool, opts)
	if err != nil {
		return Pruned{}, err
	}
	out := Pruned{Plan: p.Plan, Archives: []Archive{}}
	if opts.Dir != "" {
		sweepDrafts(opts.Dir)
	}
	for _, a := range p.Unfinished {
		if a.Last > p.until {
			return out, nil // what comes behind it waits too, so that archives are complete one after the other
		}
		path, err := a.find(opts.Dir)
		if err != nil {
			return out, fmt.Errorf("retention: go on with removing: %w", err)
		}
		n, err := p.remove(ctx, &a, path)
		out.Removed += n
		if err != nil {
			return out, err
		}
		out.Archives = append(out.Archives, a)
	}
	if err := p.archiveAll(ctx, &out); err != nil {
		return out, err
	}
	if out.Superseded, err = p.superseded(ctx); err == nil && opts.LastToo {
		err = p.forgetSnapshots(ctx)
	}
	return out, err
}

// archiveAll writes archives, and removes what is in each, until there is nothing more to be archived.
func (p *pruner) archiveAll(ctx context.Context, out *Pruned) error {
	for {
		a, err := p.write(ctx)
		if err != nil || a == nil {
			return err
		}
		n, err := p.removeWritten(ctx, a)
		out.Removed += n
		if err != nil {
			return err
		}
		if out.First == 0 {
			out.First = a.First
		}
		out.Last = a.Last
		out.Events += a.Events
		out.Archives = append(out.Archives, a.Archive)
		p.behind = a.Last
		if p.opts.Dir == "" {
			return nil
		}
	}
}

// pruner is one Prune.
type pruner struct {
	Plan
	pool   *pgxpool.Pool
	opts   PruneOptions
	schema int
	behind int64 // the next archive begins
	until  int64 // and no event above it goes
	cutoff time.Time
}

// begin looks at what may go.
func begin(ctx context.Context, pool *pgxpool.Pool, opts PruneOptions) (*pruner, error) {
	if opts.Batch <= 0 {
		opts.Batch = defaultBatch
	}
	if opts.FileEvents <= 0 {
		opts.FileEvents = defaultFileEvents
	}
	if opts.Ignore == nil {
		opts.Ignore = []string{}
	}
	p := &pruner{pool: pool, opts: opts}
	if opts.Dir != "" {
		dir, err := filepath.Abs(opts.Dir)
		if err != nil {
			return nil, fmt.Errorf("retention: %w", err)
		}
		p.opts.Dir = dir
	}
	queryCtx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var err error
	if p.schema, err = checkColumns(queryCtx, pool); err != nil {
		return nil, err
	}
	if err := p.checkIgnored(queryCtx); err != nil {
		return nil, err
	}
	if err := pool.QueryRow(queryCtx, sqlCutoff, opts.OlderThan.Microseconds()).Scan(&p.cutoff); err != nil {
		return nil, fmt.Errorf("retention: ask for the time: %w", err)
	}
	return p, p.look(queryCtx)
}

// look finds out up to where events may go, and what there is already.
func (p *pruner) look(ctx context.Context) error {
	log, err := catchup.Open(ctx, p.pool)
	if err != nil {
		return err
	}
	horizon, err := catchup.Horizon(ctx, p.pool, log)
	if err != nil {
		return err
	}
	if p.until, p.Holders, err = holders(ctx, p.pool, p.opts.Ignore); err != nil {
		return err
	}
	if horizon < p.until {
		p.until, p.Holders = horizon, append([]Holder{{Why: "horizon", Position: horizon}}, p.Holders...)
	}
	p.Until = p.until
	archives, err := Archives(ctx, p.pool)
	if err != nil {
		return err
	}
	for _, a := range archives {
		p.behind = a.Last
		if !a.Complete() {
			p.Unfinished = append(p.Unfinished, a)
		}
	}
	return nil
}

// checkColumns returns the version of the schema, or ErrColumns.
func checkColumns(ctx context.Context, pool *pgxpool.Pool) (schema int, err error) {
	var more string
	if err := pool.QueryRow(ctx, sqlColumns).Scan(&more, &schema); err != nil {
		return 0, fmt.Errorf("retention: look at the table events: %w", err)
	}
	if more != "" {
		return 0, fmt.Errorf("%w: %s (move them to a table of their own)", ErrColumns, more)
	}
	return schema, nil
}

func (p *pruner) checkIgnored(ctx context.Context) error {
	rows, err := p.pool.Query(ctx, sqlIgnored, p.opts.Ignore)
	if err != nil {
		return fmt.Errorf("retention: look at the projections: %w", err)
	}
	unknown, err := pgx.CollectRows(rows, pgx.RowTo[string])
	switch {
	case err != nil:
		return fmt.Errorf("retention: look at the projections: %w", err)
	case len(unknown) > 0:
		return fmt.Errorf("%w: %s", ErrIgnored, unknown[0])
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// holders returns up to where events may go, and what does not let go more, the lowest first.
func holders(ctx context.Context, q querier, ignore []string) (until int64, all []Holder, err error) {
	rows, err := q.Query(ctx, sqlHolders, ignore)
	if err == nil {
		var h Holder
		_, err = pgx.ForEachRow(rows, []any{&h.Projection, &h.State, &h.Why, &h.Position}, func() error {
			all = append(all, h)
			return nil
		})
	}
	if err != nil {
		return 0, nil, fmt.Errorf("retention: look at the checkpoints: %w", err)
	}
	named := false
	for _, h := range all {
		named = named || h.Projection != ""
	}
	if !named && len(ignore) == 0 {
		return 0, nil, ErrNoReaders
	}
	return all[0].Position, all, nil
}

// superseded removes what has stayed of archived events as the last of streams, and is not the last any more.
func (p *pruner) superseded(ctx context.Context) (total int64, err error) {
	for {
		var n int64
		err := p.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			until, _, err := holders(ctx, tx, p.opts.Ignore) // one that was ignored once may have it parked
			if err != nil {
				return err
			}
			var removed streams
			if err := tx.QueryRow(ctx, sqlSuperseded, p.opts.Batch, p.opts.LastToo, until).Scan(&removed.types, &removed.ids); err != nil {
				return err
			}
			n = int64(len(removed.types))
			return p.forgetRemoved(ctx, tx, removed)
		})
		if err != nil {
			return total, fmt.Errorf("retention: remove what had stayed: %w", err)
		}
		total += n
		if n < int64(p.opts.Batch) {
			return total, nil
		}
	}
}

// tx runs f in a transaction that keeps checkpoints from being made and set back.
func (p *pruner) tx(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return locked(ctx, p.pool, statementTimeout, f)
}

// locked runs f in a transaction that keeps checkpoints from being made and set back. Whoever wants to waits for its end, so it is short, or rare.
func locked(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		// What is removed must not come back with a crash, nor be removed without the note of it.
		if _, err := tx.Exec(ctx, "set local synchronous_commit = on"); err != nil {
			return err
		}
		var whole int64
		err := tx.QueryRow(ctx, sqlLock).Scan(&whole)
		if errors.Is(err, pgx.ErrNoRows) {
			return errors.New("retention: rouse_retention has no row (put it back as rouse migrate --print has it)")
		}
		if err != nil {
			return err
		}
		return f(ctx, tx)
	})
}
