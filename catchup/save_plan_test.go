package catchup_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// done is a node of what EXPLAIN (ANALYZE, FORMAT JSON) prints.
type done struct {
	Node     string   `json:"Node Type"`
	Table    string   `json:"Relation Name"`
	Index    string   `json:"Index Name"`
	Arbiters []string `json:"Conflict Arbiter Indexes"`
	Rows     float64  `json:"Actual Rows"`
	Loops    float64  `json:"Actual Loops"`
	Filtered float64  `json:"Rows Removed by Filter"`
	Unjoined float64  `json:"Rows Removed by Join Filter"`
	Plans    []done   `json:"Plans"`
}

// all returns d and all nodes below it.
func (d done) all() []done {
	nodes := []done{d}
	for _, sub := range d.Plans {
		nodes = append(nodes, sub.all()...)
	}
	return nodes
}

// work is how many rows the nodes have looked at.
func (d done) work() (rows float64) {
	for _, n := range d.all() {
		rows += n.Loops * (n.Rows + n.Filtered + n.Unjoined)
	}
	return rows
}

// explainSave saves all partitions once, and takes it back. plans is the server's plan_cache_mode: custom for the plan that is made for
// the arguments, generic for that which a prepared statement comes to have.
func (o *owner) explainSave(plans, name string) done {
	o.t.Helper()
	sql, err := os.ReadFile(filepath.Join("sql", name+".sql"))
	require.NoError(o.t, err)
	var partitions, epochs, floors, spots []string
	for _, f := range o.fences {
		partitions = append(partitions, strconv.Itoa(f.Partition))
		epochs, floors = append(epochs, "1"), append(floors, strconv.FormatInt(f.Floor, 10))
	}
	last := "true"
	if name == "save_at" {
		rows, err := o.Pool.Query(o.ctx, "select ctid::text from projection_checkpoints order by partition")
		require.NoError(o.t, err)
		spots, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(o.t, err)
		last = `'{"` + strings.Join(spots, `","`) + `"}'`
	}
	array := func(of []string) string { return "'{" + strings.Join(of, ",") + "}'" }
	args := fmt.Sprintf("'p', '%s', '%s', %s, %s, %s, 1000000, null, null, '5000ms', null, %s",
		o.instance, o.token, array(partitions), array(epochs), array(floors), last)
	tx := o.begin(pgx.ReadCommitted)
	defer func() { require.NoError(o.t, tx.Rollback(o.ctx)) }()
	for _, statement := range []string{
		"set local plan_cache_mode = force_" + plans + "_plan",
		"prepare s as " + strings.ReplaceAll(string(sql), "rouse.", ""),
	} {
		_, err := tx.Exec(o.ctx, statement)
		require.NoError(o.t, err)
	}
	var text string
	require.NoError(o.t, tx.QueryRow(o.ctx, "explain (analyze, timing off, format json) execute s ("+args+")", pgx.QueryExecModeSimpleProtocol).Scan(&text))
	_, err = tx.Exec(o.ctx, "deallocate s")
	require.NoError(o.t, err)
	var explained []struct{ Plan done }
	require.NoError(o.t, json.Unmarshal([]byte(text), &explained))
	return explained[0].Plan
}

// A save finds each row by its key, and what it does grows as the batch does, whatever the server believes of the table: it has just been
// made, and nothing is known of it; it was so when the plan was made; it is well known.
func TestSaveOfAllPartitionsIsLinear(t *testing.T) {
	t.Parallel()
	few, many := own(t, 32), own(t, 1024)
	for _, known := range []bool{false, true} {
		if known {
			few.exec("vacuum analyze projection_checkpoints")
			many.exec("vacuum analyze projection_checkpoints")
		}
		for _, name := range []string{"save", "save_at"} {
			for _, plans := range []string{"custom", "generic"} {
				of := fmt.Sprintf("%s, %s plan, analyzed: %t", name, plans, known)
				small, large := few.explainSave(plans, name), many.explainSave(plans, name)
				require.LessOrEqual(t, large.work(), 40*small.work(), "of 32 times as many rows, %s", of)
			}
		}
	}
	var accesses []done
	for _, node := range many.explainSave("generic", "save").all() {
		if node.Table == "projection_checkpoints" {
			accesses = append(accesses, node)
		}
	}
	require.Len(t, accesses, 1, "none but that which writes")
	require.Equal(t, []string{"projection_checkpoints_pkey"}, accesses[0].Arbiters)
}
