package eventstore_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// A Scanner gives what ScanEvent gives, in every mode, for small and large JSON, with few types and with more than it remembers;
// and nothing that it gives changes when it reads on, or when a writer appends to it.
func TestScanner_ReadsWhatScanEventReads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.Pool.Exec(b.ctx, `
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, metadata, created_at)
		select 'type' || n % 3, 'aggregate' || n, 1, case when n % 2 = 0 then 'Even' else 'Odd' || n end,
		       to_json(repeat('x', case n % 50 when 0 then 20000 else n % 700 end)), to_json(n), timestamptz '2026-01-01' + n * interval '1 s'
		from generate_series(1, 3000) n`)
	require.NoError(t, err)
	const sql = "select " + eventstore.Columns + " from events where global_position > $1 order by global_position limit $2"
	for _, mode := range modes {
		pool := b.pool(t, mode)
		rows, err := pool.Query(b.ctx, sql, 0, 5000)
		require.NoError(t, err)
		want, err := pgx.CollectRows(rows, eventstore.ScanEvent)
		require.NoError(t, err)
		require.Len(t, want, 3000)
		var s eventstore.Scanner
		var got []eventstore.Event
		for after := int64(0); ; {
			rows, err := pool.Query(b.ctx, sql, after, 700)
			require.NoError(t, err)
			some, err := s.Collect(rows, len(got)%3)
			require.NoError(t, err)
			if len(some) == 0 {
				break
			}
			after = some[len(some)-1].GlobalPosition
			got = append(got, some...)
		}
		for i := range got {
			_ = append(got[i].Payload, "overwritten"...)
			_ = append(got[i].Metadata, "overwritten"...)
		}
		require.Equal(t, want, got, mode)
	}
}

func TestScanner_RefusesOtherRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(1)...)
	nullable := strings.Replace(eventstore.Columns, "payload", "null::json", 1)
	for columns, message := range map[string]string{
		"global_position": "select eventstore.Columns", eventstore.Columns + ", 1": "select eventstore.Columns", nullable: "null",
	} {
		for _, mode := range modes {
			rows, err := b.pool(t, mode).Query(b.ctx, "select "+columns+" from events")
			require.NoError(t, err)
			var s eventstore.Scanner
			_, err = s.Collect(rows, 1)
			assert.ErrorContains(t, err, message, "%s, %s", columns, mode)
		}
	}
	var s eventstore.Scanner
	rows, err := b.Pool.Query(b.ctx, "select no_such_column")
	if err == nil {
		_, err = s.Collect(rows, 1)
	}
	assert.ErrorContains(t, err, "no_such_column", "the error of a statement is not lost")
}

// CollectWhile ends before the first event that is refused, is told the size of each, and leaves the rest to its caller.
func TestScanner_EndsBeforeTheEventThatIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(10)...)
	for _, mode := range modes {
		pool := b.pool(t, mode)
		var s eventstore.Scanner
		rows, err := pool.Query(b.ctx, "select "+eventstore.Columns+" from events order by global_position")
		require.NoError(t, err)
		asked := 0
		events, whole, err := s.CollectWhile(rows, 1, func(bytes int) bool {
			require.Greater(t, bytes, 50, "numbers, names, id and JSON")
			asked++
			return asked < 4
		})
		require.NoError(t, err)
		require.False(t, whole)
		require.Len(t, events, 3)
		rest := 0
		for rows.Next() {
			rest++
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 6, rest, "the one that was refused has been read")

		rows, err = pool.Query(b.ctx, "select "+eventstore.Columns+" from events order by global_position")
		require.NoError(t, err)
		events, whole, err = s.CollectWhile(rows, 1, func(int) bool { return true })
		require.NoError(t, err)
		require.True(t, whole)
		require.Len(t, events, 10)
	}
}

// CollectWhile goes on with the event that it has refused when it is called again with the same rows, and not with other rows.
func TestScanner_GoesOnWithTheEventThatWasRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(10)...)
	for _, mode := range modes {
		pool := b.pool(t, mode)
		var s eventstore.Scanner
		var parts [][]int64
		for _, most := range []int{3, 4} { // the rows of the first are left behind with one refused
			rows, err := pool.Query(b.ctx, "select "+eventstore.Columns+" from events order by global_position")
			require.NoError(t, err)
			for range most {
				left := 3
				events, _, err := s.CollectWhile(rows, 1, func(int) bool { left--; return left >= 0 })
				require.NoError(t, err)
				var part []int64
				for _, ev := range events {
					part = append(part, ev.GlobalPosition)
				}
				parts = append(parts, part)
			}
			rows.Close()
		}
		require.Equal(t, [][]int64{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10}}, parts, mode)
	}
}
