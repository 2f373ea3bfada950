package bench

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFloorIsReadByItsIndex, also by a plan that is made once for all.
func TestFloorIsReadByItsIndex(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	require.NoError(t, b.makeFloor(b.ctx))
	conn, err := b.connect(b.ctx)
	require.NoError(t, err)
	defer closeConn(conn)
	for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
		require.NoError(t, b.script(b.ctx, conn, "deallocate all; set plan_cache_mode = "+mode+"; prepare s as "+sqlReadFloor))
		rows, err := conn.Query(b.ctx, "explain execute s (10000, 1000)", pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		assert.Contains(t, plan[1], "Index Scan using floor_log_pkey", mode)
		for _, line := range plan {
			assert.NotContains(t, line, "Sort", mode)
		}
	}
}
