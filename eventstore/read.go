package eventstore

import (
	"context"
	_ "embed" // the statements
	"math"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/read_stream.sql
	readStreamSQL string
	//go:embed sql/read_after.sql
	readAfterSQL string
)

// DefaultReadLimit is the limit of ReadAfter if it is called with 0, and the length of a part of Pages if none is given.
const DefaultReadLimit = 1000

// Querier is a source of reads: a *pgxpool.Pool, a *pgx.Conn, or a pgx.Tx, whose own appends are then seen too.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// ReadOptions narrows the result of [ReadStream] and [Pages]. The zero value is the whole stream.
type ReadOptions struct {
	// FromVersion is the first version to return. 0, like 1, is the beginning of the stream.
	FromVersion int64
	// ToVersion is the last version to return. 0 is the end of the stream.
	ToVersion int64
	// Limit is the maximum number of events to return, by Pages at once. 0 or less is no limit for ReadStream, and
	// DefaultReadLimit for Pages.
	Limit int
}

// ReadStream returns the events of a stream in the order of their versions. A stream without events, or without events
// in the given range, is an empty slice and no error.
//
// It returns a slice and not an iterator, so that the transaction that it read from is free again: the usual next step
// is to decide and to [Append] in the same transaction. A stream too long for that is read in parts, with Limit, each
// from one version after the last.
func ReadStream(ctx context.Context, q Querier, stream Stream, options ReadOptions) ([]Event, error) {
	to := options.ToVersion
	if to == 0 {
		to = math.MaxInt64
	}
	return read(ctx, q, "read stream", readStreamSQL,
		stream.Type, stream.ID, options.FromVersion, to, limitParam(options.Limit))
}

// ReadAfter returns events with a global position above the given one, in the order of the log: those that are visible
// now. A limit of 0 is [DefaultReadLimit]; a negative one is no limit.
//
// It is for tools, tests and people. It does not wait for appends that hold a lower position and have not committed
// yet: a reader that goes on from the last position that it returned misses them. A projection runs in a Worker, which
// waits.
func ReadAfter(ctx context.Context, q Querier, position int64, limit int) ([]Event, error) {
	if limit == 0 {
		limit = DefaultReadLimit
	}
	return read(ctx, q, "read after a position", readAfterSQL, position, limitParam(limit))
}

// read returns the events of a query. what names the operation in its error.
func read(ctx context.Context, q Querier, what, sql string, args ...any) ([]Event, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, explain(what, err)
	}
	events, err := pgx.CollectRows(rows, ScanEvent)
	if err != nil {
		return nil, explain(what, err)
	}
	return events, nil
}

// limitParam returns a limit as the parameter of a statement: null is no limit.
func limitParam(limit int) *int64 {
	if limit <= 0 {
		return nil
	}
	n := int64(limit)
	return &n
}
