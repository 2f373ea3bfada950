package eventstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// counting is a Querier that notes how many rows each of its statements has brought.
type counting struct {
	eventstore.Querier
	rows []int
}

func (c *counting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := c.Querier.Query(ctx, sql, args...)
	c.rows = append(c.rows, 0)
	return countedRows{rows, &c.rows[len(c.rows)-1]}, err
}

type countedRows struct {
	pgx.Rows
	n *int
}

func (r countedRows) Next() bool {
	next := r.Rows.Next()
	if next {
		*r.n++
	}
	return next
}

// long makes a stream of n events, with events of another one between them.
func (b *testBundle) long(t *testing.T, stream eventstore.Stream, n int) {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select $1, $2 || case when s = 1 then '' else ' the other' end, v, 'Counted', format('{"n": %s}', v)::json
		from generate_series(1, $3::int) v, generate_series(1, 2) s where s = 1 or v <= 10 order by v`, stream.Type, stream.ID, n)
	require.NoError(t, err)
}

func TestPages_ALongStreamTakesTheMemoryOfOnePart(t *testing.T) {
	t.Parallel()
	const events = 100_000
	b := setup(t)
	b.long(t, order, events)
	q := &counting{Querier: b.Pool}
	var last int64
	parts := 0
	for part, err := range eventstore.Pages(b.ctx, q, order, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		require.Len(t, part, eventstore.DefaultReadLimit)
		for _, e := range part {
			require.Equal(t, last+1, e.AggregateVersion)
			last = e.AggregateVersion
		}
		parts++
	}
	assert.EqualValues(t, events, last)
	assert.Equal(t, events/eventstore.DefaultReadLimit, parts)
	for _, n := range q.rows {
		require.LessOrEqual(t, n, eventstore.DefaultReadLimit, "the rows of one statement")
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(7)...)
	for _, mode := range modes {
		pool := b.pool(t, mode)
		for _, tc := range []struct {
			name    string
			options eventstore.ReadOptions
			want    [][]int64
		}{
			{"the last part is shorter", eventstore.ReadOptions{Limit: 3}, [][]int64{{1, 2, 3}, {4, 5, 6}, {7}}},
			{"no part is empty", eventstore.ReadOptions{Limit: 7}, [][]int64{{1, 2, 3, 4, 5, 6, 7}}},
			{"a range", eventstore.ReadOptions{FromVersion: 2, ToVersion: 6, Limit: 2}, [][]int64{{2, 3}, {4, 5}, {6}}},
			{"a limit by default", eventstore.ReadOptions{Limit: -1}, [][]int64{{1, 2, 3, 4, 5, 6, 7}}},
			{"nothing behind the end", eventstore.ReadOptions{FromVersion: 8, Limit: 3}, nil},
		} {
			t.Run(mode.String()+"/"+tc.name, func(t *testing.T) {
				var got [][]int64
				for part, err := range eventstore.Pages(b.ctx, pool, order, tc.options) {
					require.NoError(t, err)
					got = append(got, versions(part))
				}
				assert.Equal(t, tc.want, got)
			})
		}
	}
}

// The transaction is free while the loop has a part: what the loop appends to the stream is read behind it.
func TestPages_LeavesItsTransactionFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(4)...)
	tx := b.begin(t, b.Pool, pgx.ReadCommitted)
	var got []int64
	for part, err := range eventstore.Pages(b.ctx, tx, order, eventstore.ReadOptions{Limit: 2}) {
		require.NoError(t, err)
		if len(got) == 0 {
			_, err := eventstore.Append(b.ctx, tx, order, eventstore.Exact(4), some(1)...)
			require.NoError(t, err)
		}
		got = append(got, versions(part)...)
	}
	assert.Equal(t, []int64{1, 2, 3, 4, 5}, got)
	require.NoError(t, tx.Commit(b.ctx))
}

// failing is a Querier whose statements fail after some.
type failing struct {
	eventstore.Querier
	after int
}

var errNoMore = errors.New("no more")

func (f *failing) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if f.after--; f.after < 0 {
		return nil, errNoMore
	}
	return f.Querier.Query(ctx, sql, args...)
}

func TestPages_EndsWithAnErrorOrWithItsLoop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(6)...)
	var errs []error
	for part, err := range eventstore.Pages(b.ctx, &failing{b.Pool, 2}, order, eventstore.ReadOptions{Limit: 2}) {
		errs = append(errs, err)
		assert.Equal(t, err != nil, part == nil)
	}
	require.Len(t, errs, 3)
	assert.NoError(t, errs[1])
	assert.ErrorIs(t, errs[2], errNoMore)

	q := &counting{Querier: b.Pool}
	for _, err := range eventstore.Pages(b.ctx, q, order, eventstore.ReadOptions{Limit: 2}) {
		require.NoError(t, err)
		break
	}
	assert.Equal(t, []int{2}, q.rows, "nothing is read that nobody asked for")
}
