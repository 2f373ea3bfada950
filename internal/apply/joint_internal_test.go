package apply

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// In a joint transaction the rows are in the order of projections and partitions, which those of two lanes of one projection would
// not be; and it has so many statements at most that none waits long for the others.
func TestJoint_TakesOnePartOfEachProjectionAndSoManyStatements(t *testing.T) {
	t.Parallel()
	of := func(projection string, statements int) *part {
		return &part{save: catchup.Save{Projection: projection, Fences: make([]catchup.Fence, 1)}, queued: make([]*pgx.QueuedQuery, statements)}
	}
	lane, other, large, small := of("a", 1), of("b", 1), of("c", jointSum-1), of("d", 1)
	j := &Joint{waiting: []*part{lane, other, large, small}}
	require.Equal(t, []*part{other, small}, j.take(of("a", 1)))
	require.Equal(t, []*part{lane, large}, j.waiting, "they go later")
}
