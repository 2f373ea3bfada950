package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
)

// engine judges the server by what it does: whether the locks of many sessions are seen by another one at once, whether each
// statement has a snapshot of its own, and what becomes of the token in a crash.
func (e *examination) engine(ctx context.Context) ([]Finding, error) {
	log, err := catchup.Open(ctx, e.pool)
	if err != nil {
		return one(ok("not tried, because of what the other checks say")), nil //nolint:nilerr // each of them names its own cause
	}
	held, err := e.probe(ctx, log)
	if errors.Is(err, catchup.ErrEngine) {
		text, do := split(plain(err))
		return one(fail(do, "%s", text)), nil
	}
	if err != nil {
		return nil, err
	}
	var unlogged, aurora bool
	if err := e.pool.QueryRow(ctx, sqlEngine).Scan(&unlogged, &aurora); err != nil {
		return nil, err
	}
	if !unlogged {
		return one(warn("run: alter table rouse_incarnation set unlogged",
			"the table of the token is logged, so that it outlives a crash: only the times of the server tell of one")), nil
	}
	said := ""
	if aurora {
		said = "; it keeps unlogged tables over a crash, and the times of the server tell of one"
	}
	return one(ok("the locks of %d sessions are seen at once, each statement has its own snapshot%s", held, said)), nil
}

// positions appends from two sessions in turn and rolls back: each position has to be above the one before, and above the lock.
func (e *examination) positions(ctx context.Context) ([]Finding, error) {
	if slices.ContainsFunc(e.report.Findings, func(f Finding) bool { return f.Level == Fail }) {
		return one(ok("not tried, because an append could hide what fails")), nil
	}
	fault, err := e.tryAppends(ctx)
	switch {
	case err != nil:
		return one(warn("run this under a role that may append, or see why it may not", "an append was refused: %s", cause(err))), nil //nolint:nilerr // it is said
	case fault != "":
		return one(fail("use an engine that docs/deployment.md says works", "%s", fault)), nil
	}
	return one(ok("two sessions that append are given them in turn, each after the lock")), nil
}

// probe runs catchup.Probe with as many sessions as the server can spare.
func (e *examination) probe(ctx context.Context, log catchup.Log) (held int, err error) {
	var used, most int
	if err := e.pool.QueryRow(ctx, sqlConnections).Scan(&used, &most); err != nil {
		return 0, err
	}
	holders := min((most-used)/2, catchup.MaxProbes)
	if holders < 2 {
		return catchup.Probe(ctx, e.pool, log, 1)
	}
	cfg := e.Pool.Copy()
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = int32(holders)+1, 0, 0
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	return catchup.Probe(ctx, pool, log, holders)
}

// tryAppends appends from two sessions in turn and rolls back. It returns what is wrong with the positions, "" if nothing is, and an
// error if an append failed.
func (e *examination) tryAppends(ctx context.Context) (fault string, err error) {
	var sessions [2]pgx.Tx
	for i := range sessions {
		if sessions[i], err = e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}); err != nil {
			return "", err
		}
		defer sessions[i].Rollback(ctx)
	}
	var given []int64
	for i := range 4 {
		var position int64
		if err := sessions[i%2].QueryRow(ctx, sqlAppend).Scan(&position); err != nil {
			return "", err
		}
		given = append(given, position)
		if i > 1 {
			continue
		}
		var before bool
		if err := sessions[i].QueryRow(ctx, sqlHeld, position).Scan(&before); err != nil {
			return "", err
		}
		if !before {
			return fmt.Sprintf("an append had not taken its lock before position %d was given out, so readers may pass over it", position), nil
		}
	}
	if !slices.IsSorted(given) {
		return fmt.Sprintf("two sessions that appended in turn were given the positions %s, so events appear below what was read", strings.Trim(fmt.Sprint(given), "[]")), nil
	}
	return "", nil
}
