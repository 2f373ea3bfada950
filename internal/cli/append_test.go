package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestAppendOverMoreAggregatesThanMemoryHolds: it makes no list of them.
func TestAppendOverMoreAggregatesThanMemoryHolds(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for _, aggregates := range []string{"2147483647", "9223372036854775807"} {
		mustRouse(t, db, "append", "--count", "10", "--aggregates", aggregates, "--writers", "4")
	}
	require.Equal(t, 20, value[int](t, db.Pool, "select count(*) from events"))
}
