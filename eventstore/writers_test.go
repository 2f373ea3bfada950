package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// writer appends n events to a stream in one transaction, or returns an error and has appended none.
type writer func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error

// errAgain is what a writer returns that lost a race and has to begin again.
var errAgain = errors.New("begin again")

// The writers of a busy system: those who use this package, and those who have never heard of it.
var writers = map[string]writer{
	"any": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := eventstore.Append(ctx, tx, stream, eventstore.Any(), some(n)...)
			return err
		})
	},
	"exact": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return appendAfterReading(ctx, pool, pgx.ReadCommitted, stream, n)
	},
	"repeatable read": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return appendAfterReading(ctx, pool, pgx.RepeatableRead, stream, n)
	},
	"serializable": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return appendAfterReading(ctx, pool, pgx.Serializable, stream, n)
	},
	"again in one transaction": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			for {
				before, err := eventstore.ReadStream(ctx, tx, stream, eventstore.ReadOptions{})
				if err != nil {
					return err
				}
				_, err = eventstore.Append(ctx, tx, stream, eventstore.Exact(int64(len(before))), some(n)...)
				if !errors.Is(err, eventstore.ErrConflict) {
					return err
				}
			}
		})
	},
	"plain SQL": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		_, err := pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select $1, $2, v + n, 'PlainSQL', '{}'
			from (select coalesce(max(aggregate_version), 0) from events where aggregate_type = $1 and aggregate_id = $2) h (v),
			     generate_series(1, $3::int) n order by n`, stream.Type, stream.ID, n)
		return again(err)
	},
	"COPY": func(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, n int) error {
		return again(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			before, err := eventstore.ReadStream(ctx, tx, stream, eventstore.ReadOptions{})
			if err != nil {
				return err
			}
			_, err = tx.CopyFrom(ctx, pgx.Identifier{"events"},
				[]string{"aggregate_type", "aggregate_id", "aggregate_version", "event_type", "payload"},
				pgx.CopyFromSlice(n, func(i int) ([]any, error) {
					return []any{stream.Type, stream.ID, int64(len(before) + i + 1), "Copied", "{}"}, nil
				}))
			return err
		}))
	},
}

func appendAfterReading(ctx context.Context, pool *pgxpool.Pool, isolation pgx.TxIsoLevel, stream eventstore.Stream, n int) error {
	return again(pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: isolation}, func(tx pgx.Tx) error {
		before, err := eventstore.ReadStream(ctx, tx, stream, eventstore.ReadOptions{})
		if err != nil {
			return err
		}
		_, err = eventstore.Append(ctx, tx, stream, eventstore.Exact(int64(len(before))), some(n)...)
		return err
	}))
}

// again sorts the errors of a lost race out. What a writer gets from COMMIT is the server's error as it is.
func again(err error) error {
	if errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrRetryTransaction) {
		return errAgain
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "23505" || pgErr.Code == "40001") {
		return errAgain
	}
	return err
}

// Every writer in every mode goes at the same three streams. All that was committed must be there, in versions without
// holes, and the order of the log must be the order of versions.
func TestAppend_AmongOtherWriters(t *testing.T) {
	t.Parallel()
	const rounds, streams = 4, 3
	b := setup(t)
	var want [streams]atomic.Int64
	var wg sync.WaitGroup
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		pool := b.pool(t, mode)
		for name, write := range writers {
			if name == "COPY" && mode == pgx.QueryExecModeSimpleProtocol {
				continue // CopyFrom is binary and cannot send json as text there
			}
			wg.Go(func() {
				for round := range rounds * streams {
					stream, n := round%streams, 1+round%4
					err := errAgain
					for errors.Is(err, errAgain) {
						err = write(b.ctx, pool, eventstore.Stream{Type: "busy", ID: fmt.Sprint(stream)}, n)
					}
					if !assert.NoError(t, err, "%s in mode %s", name, mode) {
						return
					}
					want[stream].Add(int64(n))
				}
			})
		}
	}
	wg.Wait()
	for i := range want {
		stream := eventstore.Stream{Type: "busy", ID: fmt.Sprint(i)}
		assert.Equal(t, want[i].Load(), b.version(t, stream))
		events, err := eventstore.ReadStream(b.ctx, b.Pool, stream, eventstore.ReadOptions{})
		require.NoError(t, err)
		var last int64
		for _, e := range events {
			require.Greater(t, e.GlobalPosition, last, "version %d of %s", e.AggregateVersion, stream)
			last = e.GlobalPosition
		}
	}
}
