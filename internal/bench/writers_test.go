package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWriters: both tables have what was appended, and the worker has handled everything.
func TestWriters(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r, err := b.Writers(b.ctx, WritersOptions{Writers: []int{2}, Rounds: 2, Length: 200 * time.Millisecond, Poll: 3 * time.Millisecond})
	require.NoError(t, err)
	require.Len(t, r.Rows, 1)
	row := r.Rows[0]
	require.Len(t, row.Rounds, 2)
	for _, rate := range []float64{row.Plain, row.Log, row.PlainPolled, row.LogPolled, row.Rouse, row.Alone, row.Beside, row.Worker} {
		assert.Positive(t, rate)
	}
	assert.GreaterOrEqual(t, row.Lost, int64(0))
	assert.Positive(t, r.Events)
	assert.Equal(t, r.Events, r.Handled)
	assert.EqualValues(t, 6, value[int64](t, b, "select count(distinct split_part(aggregate_id, '-', 1)) from events"), "alone, polled and handled, twice")
	assert.EqualValues(t, 4, value[int64](t, b, "select count(distinct split_part(aggregate_id, '-', 1)) from plain_log"), "alone and polled, twice")
}

// TestPlainTableHasTheColumnsAndKeysOfTheLog, or appends to it would be no floor.
func TestPlainTableHasTheColumnsAndKeysOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	require.NoError(t, b.exec(b.ctx, statementTimeout, sqlPlainLog))
	of := func(table string) (columns, keys []string) {
		columns = value[[]string](t, b, `select array_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull order by attnum)
			from pg_attribute where attrelid = '`+table+`'::regclass and attnum > 0 and not attisdropped`)
		keys = value[[]string](t, b, `select array_agg(pg_get_constraintdef(oid) order by 1) from pg_constraint
			where conrelid = '`+table+`'::regclass and contype in ('p', 'u')`)
		return columns, keys
	}
	columns, keys := of("events")
	plainColumns, plainKeys := of("plain_log")
	assert.ElementsMatch(t, columns, plainColumns)
	assert.ElementsMatch(t, keys, plainKeys)
}
