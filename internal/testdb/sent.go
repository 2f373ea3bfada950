package testdb

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Sent is a tracer that is called with the texts of the statements that a connection is about to send together: that of one query,
// or those of one batch. It may be called by several goroutines.
type Sent func(texts ...string)

// TraceQueryStart is pgx's.
func (s Sent) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	s(d.SQL)
	return ctx
}

// TraceQueryEnd is pgx's.
func (Sent) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart is pgx's.
func (s Sent) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	texts := make([]string, len(d.Batch.QueuedQueries))
	for i, q := range d.Batch.QueuedQueries {
		texts[i] = q.SQL
	}
	s(texts...)
	return ctx
}

// TraceBatchQuery is pgx's.
func (Sent) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd is pgx's.
func (Sent) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}
