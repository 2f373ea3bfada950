package catchup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/db"
)

// exchange sends the statements of one read, which queue queues for a connection, in one round trip, and calls collect with their
// results.
func (r *Reader) exchange(ctx context.Context, queue func(*pgx.Batch, db.Needs), collect func(pgx.BatchResults) (reading, error)) (reading, error) {
	return r.onConn(ctx, func(conn *pgxpool.Conn) (reading, error) {
		var batch pgx.Batch
		queue(&batch, db.NeedsOf(conn.Conn()))
		return exchange(ctx, conn, &batch, collect)
	})
}

// onConn calls read with a connection, and closes that if the rest of what was read is still to come.
func (r *Reader) onConn(ctx context.Context, read func(conn *pgxpool.Conn) (reading, error)) (reading, error) {
	pass, err := db.Enter(ctx, r.pool)
	if err != nil {
		return reading{}, fmt.Errorf("catchup: wait to read the log: %w", err)
	}
	defer pass.Leave()
	conn, err := db.Acquire(ctx, r.pool)
	if err != nil {
		return reading{}, fmt.Errorf("catchup: connect to read the log: %w", err)
	}
	defer conn.Release()
	found, err := read(conn)
	if err == nil && found.cut {
		db.Cut(conn)
	}
	return found, err
}

// exchange sends batch in one round trip, and calls collect with the results.
func exchange(ctx context.Context, conn *pgxpool.Conn, batch *pgx.Batch, collect func(pgx.BatchResults) (reading, error)) (found reading, err error) {
	results := conn.SendBatch(ctx, batch)
	found, err = collect(results)
	if err == nil && found.cut {
		db.Cut(conn)
		_ = results.Close() // of a connection that is no more
		return found, nil
	}
	if closeErr := results.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("catchup: read the log: %w", closeErr)
	}
	if err != nil && !conn.Conn().IsClosed() {
		// The pipeline stopped inside its transaction; a pool throws such a connection away unless it is ended here.
		rollbackCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
		defer cancel()
		_, _ = conn.Exec(rollbackCtx, "rollback")
	}
	return found, err
}
