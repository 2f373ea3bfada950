package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// resize changes the number of partitions and wants it to be done.
func (s *stage) resize(projection string, partitions int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	began := time.Now()
	from, err := partition.Resize(ctx, s.Pool, projection, partitions)
	require.NoError(s.t, err)
	require.EqualValues(s.t, partitions, s.int("select count(*) from projection_checkpoints where projection_name = $1", projection))
	s.t.Logf("%s from %d to %d in %v", projection, from, partitions, time.Since(began).Round(time.Millisecond))
}

// TestResizeUnderLoad: from few partitions to many and back, several steps at once, while everybody writes and works.
func TestResizeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name  string
		total int // static workers; 0: elastic
	}{{"elastic", 0}, {"static", 3}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			_, err := partition.Ensure(s.ctx, s.Pool, "single", 8)
			require.NoError(t, err)
			load := s.startLoad(s.pool(s.URL), 3, 5*time.Millisecond)
			for i := range 3 {
				label := fmt.Sprintf("%s-%d", mode.name, i)
				s.start(s.pool(s.URL), rouse.Config{
					Projections: []rouse.Projection{batchRecorder{recorder{name: "batched", worker: label}}, recorder{name: "single", worker: label}},
					Label:       label, WorkerIndex: i * min(mode.total, 1), TotalWorkers: mode.total, BatchSize: 30,
				}).started()
			}
			for _, partitions := range []int{16, 64, 32, 1, 1024, 32} {
				s.resize("single", partitions)
				load.more(t, 30)
				if partitions == 16 || partitions == 1 {
					s.resize("batched", partitions)
				}
			}
			load.stop()
			s.exact("single")
			s.exact("batched")
		})
	}
}
