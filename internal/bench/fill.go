package bench

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// fillTimeout bounds the filling of a history: some ten million events on a slow disk.
const fillTimeout = 30 * time.Minute

// fill makes the history, and vacuums it so that the first to read it does not have to set hint bits.
func (b *Bench) fill(ctx context.Context, events int64) error { return b.fillFrom(ctx, 0, events) }

// fillFrom lengthens a history, which fill or fillFrom made, to so many events.
func (b *Bench) fillFrom(ctx context.Context, there, events int64) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return Fill(ctx, conn, there, events)
}

// Fill lengthens a history of Rouse's log, in the schema of conn's search_path, from so many events to so many. Meanwhile the
// log has no unique constraints but its key: they are made anew at the end, as after any bulk load, and checked by that.
func Fill(ctx context.Context, conn *pgx.Conn, there, events int64) error {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		type constraint struct{ Name, Definition string }
		rows, err := tx.Query(ctx, sqlUniques)
		if err != nil {
			return err
		}
		uniques, err := pgx.CollectRows(rows, pgx.RowToStructByPos[constraint])
		if err != nil {
			return err
		}
		for _, u := range uniques {
			if _, err := tx.Exec(ctx, "alter table events drop constraint "+pgx.Identifier{u.Name}.Sanitize()); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sqlFill, events, historyAggregates, there); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "set local maintenance_work_mem = '512MB'"); err != nil {
			return err
		}
		for _, u := range uniques {
			if _, err := tx.Exec(ctx, "alter table events add constraint "+pgx.Identifier{u.Name}.Sanitize()+" "+u.Definition); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "vacuum analyze events")
	return err
}
