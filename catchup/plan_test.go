package catchup_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// plan is a node of what EXPLAIN (FORMAT JSON) prints.
type plan struct {
	Node  string `json:"Node Type"`
	Index string `json:"Index Name"`
	Way   string `json:"Scan Direction"`
	Plans []plan `json:"Plans"`
}

func (p plan) nodes() []string {
	out := []string{p.Node}
	for _, sub := range p.Plans {
		out = append(out, sub.nodes()...)
	}
	return out
}

// leaf is the node that touches the table.
func (p plan) leaf() plan {
	for len(p.Plans) > 0 {
		p = p.Plans[0]
	}
	return p
}

// explain plans a statement of this package as a read does: generic, as a prepared statement comes to be, or for its arguments.
func (b *bundle) explain(generic string, name string, types string, args string) plan {
	b.t.Helper()
	sql, err := os.ReadFile(filepath.Join("sql", name+".sql"))
	require.NoError(b.t, err)
	tx := b.begin(pgx.ReadCommitted)
	defer func() { require.NoError(b.t, tx.Rollback(b.ctx)) }()
	var text string
	for _, statement := range []string{
		"set local max_parallel_workers_per_gather = 0",
		"set local enable_bitmapscan = off",
		"set local enable_seqscan = off",
		"set local plan_cache_mode = " + generic,
		"prepare s (" + types + ") as " + strings.ReplaceAll(string(sql), "rouse.", ""),
	} {
		_, err := tx.Exec(b.ctx, statement)
		require.NoError(b.t, err, statement)
	}
	defer func() { _, _ = tx.Exec(b.ctx, "deallocate s") }()
	require.NoError(b.t, tx.QueryRow(b.ctx, "explain (format json) execute s ("+args+")", pgx.QueryExecModeSimpleProtocol).Scan(&text))
	var plans []struct{ Plan plan }
	require.NoError(b.t, json.Unmarshal([]byte(text), &plans))
	return plans[0].Plan
}

// Every read goes along the primary key and stops at its limit: no sort, no scan of the table, whatever is asked for.
func TestReadsGoAlongThePrimaryKey(t *testing.T) {
	t.Parallel()
	setup(t).planned(100_000)
}

func TestStressReadsOfAMillionGoAlongThePrimaryKey(t *testing.T) {
	if os.Getenv("ROUSE_STRESS") == "" {
		t.Skip("set ROUSE_STRESS=1 (make stress)")
	}
	t.Parallel()
	setup(t).planned(1_000_000)
}

// A plan is made once for all values, so it must not be one for the table that was small when it was made.
func TestPlansMadeForASmallLogGoAlongThePrimaryKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 1)
	_, err := b.Pool.Exec(b.ctx, "vacuum analyze events")
	require.NoError(t, err)
	leaf := b.explain("force_generic_plan", "read", "bigint, bigint, int", "0, 65536, 1000").leaf()
	require.Equal(t, "Index Scan", leaf.Node)
	require.Equal(t, "events_pkey", leaf.Index)
}

// A glance makes no settings. It reads a table of a few pages as the planner likes, and any other by a probe of the primary key for
// each position; and the plan that is kept is the one for all positions.
func TestGlanceGoesAlongThePrimaryKeyWithoutSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text, err := os.ReadFile(filepath.Join("sql", "glance.sql"))
	require.NoError(t, err)
	for _, events := range []int{0, 1, 480, 2000, 20_000} {
		for _, analyzed := range []bool{false, true} {
			b.exec("truncate events restart identity")
			if events > 0 {
				b.append(b.Pool, events)
			}
			if analyzed {
				b.exec("vacuum analyze events")
			}
			conn := b.Conn(t)
			_, err := conn.Prepare(b.ctx, "glance", strings.ReplaceAll(string(text), "rouse.", ""))
			require.NoError(t, err)
			var nodes string
			for range 7 { // the sixth chooses between a plan for its values and one for all
				rows, err := conn.Query(b.ctx, "explain (verbose) execute glance ("+strconv.Itoa(int(b.log.Sequence))+", "+strconv.Itoa(max(events-1, 0))+")", pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				nodes = strings.Join(lines, "\n")
			}
			require.Contains(t, nodes, "generate_series(($2 + ", "%d events, analyzed: %v", events, analyzed)
			if events >= 480 {
				require.Contains(t, nodes, "Index Scan using events_pkey on public.events", "%d events, analyzed: %v", events, analyzed)
				require.NotContains(t, nodes, "Seq Scan on public.events")
				require.NotContains(t, nodes, "Sort")
			}
		}
	}
}

// planned checks the plans of all reads in a log of so many events, in which one type is rare and one does not occur.
func (b *bundle) planned(events int) {
	t := b.t
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select case n % 10 when 0 then 'user' else 'order' end, 'a' || n % 1000, n / 1000 + 1, case n % 1000 when 0 then 'rare' else 'e' end, '{}'
		from generate_series(0, $1::int - 1) n`, events)
	b.exec("vacuum analyze events")
	slots := "decode(repeat('11', 128), 'hex')" // a partition of four, which the planner cannot estimate
	types := map[string]string{
		"rare": "'{rare}', null", "absent": "'{never}', null", "both": "'{e,rare}', '{user}'", "aggregates": "null, '{user}'", "all": "null, null",
	}
	for _, generic := range []string{"force_generic_plan", "force_custom_plan"} {
		for _, from := range []int{0, events / 2, events - 10, 10 * events} {
			args := fmt.Sprintf("%d, %d, 500", from, from+1<<16)
			plans := map[string]plan{
				"read":       b.explain(generic, "read", "bigint, bigint, int", args),
				"read_slots": b.explain(generic, "read_slots", "bigint, bigint, int, bytea", args+", "+slots),
			}
			for name, of := range types {
				plans["read_types "+name] = b.explain(generic, "read_types", "bigint, bigint, int, bytea, text[], text[]", args+", "+slots+", "+of)
			}
			for name, p := range plans {
				require.Equal(t, []string{"Limit", "Index Scan"}, p.nodes(), "%s from %d, %s", name, from, generic)
				require.Equal(t, "events_pkey", p.leaf().Index)
				require.Equal(t, "Forward", p.leaf().Way)
			}
			for name, want := range map[string][2]string{"next": {"Index Only Scan", "Forward"}, "last_visible": {"Index Scan", "Backward"}} {
				p := b.explain(generic, name, "bigint", strconv.Itoa(from))
				require.Equal(t, "events_pkey", p.leaf().Index, "%s from %d, %s", name, from, generic)
				require.Equal(t, want, [2]string{p.leaf().Node, p.leaf().Way}, "%s, which ends after one row", name)
				require.False(t, slices.Contains(p.nodes(), "Sort"))
			}
		}
	}
}

// A partition is read through to the end although it has next to nothing, in few reads, and what it has is found.
func TestSparsePartitionIsReadInFewReads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'busy', n, 'e', '{}' from generate_series(1, 100000) n`)
	mine := b.appendNamed(b.Pool, b.elsewhere("busy"))
	slot := b.int("select slot from events where global_position = $1", mine[0])
	reader := catchup.NewReader(b.Pool, b.log, b.token, catchup.SlotsOf([]int{int(slot)}, catchup.Slots), 0)
	found, batch := b.leapTo(reader)
	require.Equal(t, mine, found)
	require.Equal(t, mine[0], batch.To)
	found, batch = b.next(reader, 100)
	require.Empty(t, found)
	require.False(t, batch.More)
	require.Equal(t, mine[0], batch.To, "the cursor is at the end of what was looked through")
}

// elsewhere is the name of an aggregate in another slot than a given one.
func (b *bundle) elsewhere(aggregate string) string {
	b.t.Helper()
	var name string
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, `select 'a' || n from generate_series(1, 100) n
		where hashtextextended(('a' || n) collate "C", 0) & 1023 <> hashtextextended($1 collate "C", 0) & 1023 limit 1`, aggregate).Scan(&name))
	return name
}

// A full batch ends at its last event, and the next read goes on behind it; none is read twice and none is left out.
func TestBatchesJoinWithoutASeam(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := b.append(b.Pool, 257)
	slots := map[string]catchup.SlotSet{"all": allSlots(), "half": catchup.SlotsOf([]int{0, 3, 5, 6}, 8)}
	for name, set := range slots {
		for _, limit := range []int{1, 7, 256, 257, 1000} {
			reader := catchup.NewReader(b.Pool, b.log, b.token, set, 0)
			got := []int64{}
			for to := int64(0); ; {
				found, batch := b.next(reader, limit)
				require.Equal(t, to, batch.From)
				require.LessOrEqual(t, len(found), limit)
				got, to = append(got, found...), batch.To
				if !batch.More {
					require.Equal(t, all[256], to)
					break
				}
			}
			want := all
			if name == "half" {
				want = b.inPartitions(8, 0, 3, 5, 6)
			}
			require.Equal(t, want, got, "%s, %d at a time", name, limit)
		}
	}
}

func (b *bundle) inPartitions(total int, partitions ...int) []int64 {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, "select global_position from events where slot & ($1::int - 1) = any ($2::int[]) order by 1", total, partitions)
	require.NoError(b.t, err)
	return b.positions(rows)
}

func TestSlotSet(t *testing.T) {
	t.Parallel()
	all, quarter := allSlots(), catchup.SlotsOf([]int{1}, 4)
	require.True(t, all.Full())
	require.False(t, quarter.Full())
	n := 0
	for slot := range int16(catchup.Slots) {
		require.True(t, all.Has(slot))
		require.Equal(t, slot%4 == 1, quarter.Has(slot))
		if quarter.Has(slot) {
			n++
		}
	}
	require.Equal(t, catchup.Slots/4, n)
	var none catchup.SlotSet
	require.False(t, none.Full())
	require.False(t, none.Has(0))
}
