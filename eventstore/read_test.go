package eventstore_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

func versions(events []eventstore.Event) []int64 {
	out := make([]int64, len(events))
	for i, e := range events {
		out[i] = e.AggregateVersion
	}
	return out
}

func TestReadStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, eventstore.Stream{Type: "order", ID: "2"}, eventstore.NoStream(), some(3)...)
	b.append(t, order, eventstore.NoStream(), some(5)...)
	b.append(t, eventstore.Stream{Type: "other", ID: "1"}, eventstore.NoStream(), some(3)...)
	for _, mode := range modes {
		pool := b.pool(t, mode)
		for _, tc := range []struct {
			name    string
			options eventstore.ReadOptions
			want    []int64
		}{
			{"all of one stream", eventstore.ReadOptions{}, []int64{1, 2, 3, 4, 5}},
			{"from a version on", eventstore.ReadOptions{FromVersion: 4}, []int64{4, 5}},
			{"up to a version", eventstore.ReadOptions{ToVersion: 2}, []int64{1, 2}},
			{"between two", eventstore.ReadOptions{FromVersion: 2, ToVersion: 4}, []int64{2, 3, 4}},
			{"exactly one", eventstore.ReadOptions{FromVersion: 3, ToVersion: 3}, []int64{3}},
			{"the first few", eventstore.ReadOptions{Limit: 2}, []int64{1, 2}},
			{"the next few", eventstore.ReadOptions{FromVersion: 3, Limit: 2}, []int64{3, 4}},
			{"a limit below zero", eventstore.ReadOptions{Limit: -1}, []int64{1, 2, 3, 4, 5}},
			{"nothing behind the end", eventstore.ReadOptions{FromVersion: 6}, []int64{}},
			{"nothing in an empty range", eventstore.ReadOptions{FromVersion: 4, ToVersion: 3}, []int64{}},
			{"the ends of bigint", eventstore.ReadOptions{FromVersion: math.MinInt64, ToVersion: math.MaxInt64}, []int64{1, 2, 3, 4, 5}},
		} {
			t.Run(mode.String()+"/"+tc.name, func(t *testing.T) {
				got, err := eventstore.ReadStream(b.ctx, pool, order, tc.options)
				require.NoError(t, err)
				assert.Equal(t, tc.want, versions(got))
			})
		}
	}
	t.Run("a stream that does not exist is empty", func(t *testing.T) {
		got, err := eventstore.ReadStream(b.ctx, b.Pool, eventstore.Stream{Type: "order", ID: "3"}, eventstore.ReadOptions{})
		require.NoError(t, err)
		assert.Empty(t, got)
	})
}

func TestReadAfter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	appended := b.append(t, order, eventstore.NoStream(), some(eventstore.DefaultReadLimit+5)...)
	first := appended.Positions[0]
	for _, mode := range modes {
		pool := b.pool(t, mode)
		for _, tc := range []struct {
			name     string
			position int64
			limit    int
			want     []int64
		}{
			{"starts behind the position", first, 2, appended.Positions[1:3]},
			{"has a limit by default", 0, 0, appended.Positions[:eventstore.DefaultReadLimit]},
			{"reads all without a limit", 0, -1, appended.Positions},
			{"ends at the end", appended.LastPosition() - 1, 10, appended.Positions[len(appended.Positions)-1:]},
			{"finds nothing behind the end", appended.LastPosition(), 10, nil},
		} {
			t.Run(mode.String()+"/"+tc.name, func(t *testing.T) {
				events, err := eventstore.ReadAfter(b.ctx, pool, tc.position, tc.limit)
				require.NoError(t, err)
				var got []int64
				for _, e := range events {
					got = append(got, e.GlobalPosition)
				}
				assert.Equal(t, tc.want, got)
			})
		}
	}
}

// The binary form is decoded by hand and the text by pgx: both must give the same events, also for values that only a
// writer of plain SQL would store.
func TestScanEvent_ReadsTheSameInEveryMode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.Pool.Exec(b.ctx, `
		insert into events (event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload,
		                    metadata, created_at)
		values ('00000000-0000-0000-0000-000000000000', 'a', 'b', 1, 'c', 1, '1', '2', '2000-01-01 00:00:00.000001+00'),
		       ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'ä', 'b', 9223372036854775807, 'ü', 2147483647, ' {"a" : 1} ', '[]',
		        '1999-12-31 23:59:59.999999+00'),
		       (default, 'a', 'b', 2, 'c', 1, '{}', '{}', '1969-12-31 23:59:59.5+00'),
		       (default, 'a', 'b', 3, 'c', 1, '{}', '{}', 'infinity'),
		       (default, 'a', 'b', 4, 'c', 1, '{}', '{}', '-infinity'),
		       (default, 'a', 'b', 5, 'c', 1, '{}', '{}', '12345-01-01 00:00:00+00'),
		       (default, 'a', 'b', 6, 'c', 1, '{}', '{}', '0044-03-15 12:00:00+00 BC'),
		       (default, 'a', 'b', 7, 'c', 1, '{}', '{}', '2026-07-01 02:00:00+02')`)
	require.NoError(t, err)
	var reference []eventstore.Event
	for _, mode := range modes {
		got, err := eventstore.ReadAfter(b.ctx, b.pool(t, mode), 0, -1)
		require.NoError(t, err, mode)
		require.Len(t, got, 8)
		if reference == nil {
			reference = got
		}
		require.Equal(t, reference, got, mode)
		_, err = json.Marshal(got)
		require.NoError(t, err)
	}
	assert.Equal(t, time.Date(2000, 1, 1, 0, 0, 0, 1000, time.UTC), reference[0].CreatedAt)
	assert.Equal(t, time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC), reference[1].CreatedAt)
	assert.Equal(t, eventstore.ID{}, reference[0].ID)
	assert.Equal(t, strings.Repeat("f", 8), reference[1].ID.String()[:8])
	assert.Equal(t, int64(math.MaxInt64), reference[1].AggregateVersion)
	assert.Equal(t, math.MaxInt32, reference[1].Version)
	assert.Equal(t, ` {"a" : 1} `, string(reference[1].Payload))
	assert.Equal(t, time.Date(1969, 12, 31, 23, 59, 59, 5e8, time.UTC), reference[2].CreatedAt)
	assert.Equal(t, 9999, reference[3].CreatedAt.Year())
	assert.Equal(t, 0, reference[4].CreatedAt.Year())
	assert.Equal(t, 9999, reference[5].CreatedAt.Year())
	assert.Equal(t, 0, reference[6].CreatedAt.Year())
	assert.Equal(t, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), reference[7].CreatedAt)
}

func TestScanEvent_EventsKeepTheirOwnMemory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := some(200)
	for i := range events {
		events[i].Metadata = json.RawMessage(`{"m": true}`)
	}
	b.append(t, order, eventstore.NoStream(), events...)
	stored, err := eventstore.ReadStream(b.ctx, b.Pool, order, eventstore.ReadOptions{})
	require.NoError(t, err)
	for i := range stored {
		require.JSONEq(t, string(events[i].Payload), string(stored[i].Payload))
		_ = append(stored[i].Payload, "overwritten"...)
		require.Equal(t, `{"m": true}`, string(stored[i].Metadata))
	}
}

func TestScanEvent_RefusesOtherRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(t, order, eventstore.NoStream(), some(1)...)
	swapped := strings.Replace(strings.Replace(eventstore.Columns, "slot, ", "", 1), "event_id", "slot, event_id", 1)
	for _, columns := range []string{"global_position", eventstore.Columns + ", 1", swapped} {
		rows, err := b.Pool.Query(b.ctx, `select `+columns+` from events`)
		require.NoError(t, err)
		_, err = pgx.CollectRows(rows, eventstore.ScanEvent)
		assert.ErrorContains(t, err, "select eventstore.Columns", columns)
	}
	nullable := strings.Replace(eventstore.Columns, "payload", "null::json", 1)
	for _, mode := range modes {
		rows, err := b.pool(t, mode).Query(b.ctx, `select `+nullable+` from events`)
		require.NoError(t, err)
		_, err = pgx.CollectRows(rows, eventstore.ScanEvent)
		assert.ErrorContains(t, err, "null", mode)
	}
}

func TestStatements_SelectTheColumnsThatScanEventReads(t *testing.T) {
	t.Parallel()
	list := strings.Join(strings.Fields(eventstore.Columns), " ")
	for _, sql := range []string{eventstore.ReadStreamSQL, eventstore.ReadAfterSQL} {
		assert.Contains(t, strings.Join(strings.Fields(sql), " "), "select "+list+" from events")
	}
}

// A generic plan is what a prepared statement ends up with after five executions, so both kinds are looked at.
func TestStatements_UseTheirIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.Pool.Exec(b.ctx, `
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'order', a::text, v, 'Counted', '{}' from generate_series(1, 300) a, generate_series(1, 100) v`)
	require.NoError(t, err)
	_, err = b.Pool.Exec(b.ctx, `analyze events`)
	require.NoError(t, err)
	const unique, primary = "events_aggregate_type_aggregate_id_aggregate_version_key", "events_pkey"
	for _, tc := range []struct {
		name, sql, types, values, index, condition string
	}{
		{"read_stream", eventstore.ReadStreamSQL, `text, text, bigint, bigint, bigint`,
			`'order', '7', 0, 9223372036854775807, null`, unique, "(aggregate_version >= "},
		{"read_after", eventstore.ReadAfterSQL, `bigint, bigint`, `29000, 100`, primary, "(global_position > "},
		{"append_one", eventstore.AppendOneSQL, `text, text, bigint, text, text, int, text, text`,
			`'order', '7', null, '0198c1f2-6b1e-7a40-9c55-2f8e6d1b7a03', 'A', 1, '{}', '{}'`, unique, "(aggregate_id = "},
		{"append_many", eventstore.AppendManySQL, `text, text, bigint, text[], text[], int[], text[], text[]`,
			`'order', '7', 100, '{}', '{A}', '{1}', '{"{}"}', '{"{}"}'`, unique, "(aggregate_id = "},
		{"conflict", eventstore.ConflictSQL, `text, text, text[]`,
			`'order', '7', '{0198c1f2-6b1e-7a40-9c55-2f8e6d1b7a03}'`, unique, "(aggregate_id = "},
	} {
		for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
			t.Run(tc.name+"/"+mode, func(t *testing.T) {
				tx := b.begin(t, b.Pool, pgx.ReadCommitted)
				_, err := tx.Exec(b.ctx, `set local plan_cache_mode = `+mode+`; prepare p (`+tc.types+`) as `+tc.sql)
				require.NoError(t, err)
				rows, err := tx.Query(b.ctx, `explain (verbose) execute p (`+tc.values+`)`, pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				plan := strings.Join(lines, "\n")
				assert.Contains(t, plan, tc.index, plan)
				assert.Contains(t, strings.ReplaceAll(plan, "events.", ""), tc.condition, plan)
				assert.NotContains(t, plan, "Seq Scan", plan)
				if strings.HasPrefix(tc.name, "read") {
					assert.NotContains(t, plan, "Sort", plan)
				}
				_, err = tx.Exec(b.ctx, `deallocate p`)
				require.NoError(t, err)
			})
		}
	}
}
