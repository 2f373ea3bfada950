package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// fleet starts static workers 0 to n-1 of n.
func (s *stage) fleet(generation string, n int) []*running {
	s.t.Helper()
	var fleet []*running
	for i := range n {
		label := fmt.Sprintf("%s-%d", generation, i)
		fleet = append(fleet, s.start(s.pool(s.URL), rouse.Config{
			Projections: []rouse.Projection{batchRecorder{recorder{name: "batched", worker: label}}, recorder{name: "single", worker: label}},
			Label:       label, WorkerIndex: i, TotalWorkers: n, BatchSize: 30,
		}))
	}
	for _, w := range fleet {
		w.WaitStarted()
	}
	return fleet
}

// From four workers to eight and back, under load and in the worst order: the new ones start while the old ones still run.
func TestResizeHandlesNothingTwiceAndSkipsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	load := s.startLoad(s.pool(s.URL), 4, 5*time.Millisecond)
	var last []*running
	for _, generation := range []struct {
		name    string
		workers int
	}{{"four", 4}, {"eight", 8}, {"four-again", 4}} {
		fleet := s.fleet(generation.name, generation.workers)
		load.more(t, 60)
		for _, w := range last {
			w.MustStop()
		}
		load.more(t, 60)
		last = fleet
	}
	load.stop()
	s.exact("batched")
	s.exact("single")
	s.eventually(patience, "every partition to have an owner in the last generation", `select count(*) = 64 from projection_checkpoints c
		join projection_workers w on w.instance_id = c.owner and w.label like 'four-again-%' and c.partition % 4 = w.worker_index`)
	require.EqualValues(t, 3, s.int("select count(distinct rtrim(worker, '-0123456789')) from seen where projection = 'single'"),
		"all three generations must have worked, or nothing is shown")
	for _, w := range last {
		w.MustStop()
	}
}

// A static worker that is stopped leaves its partitions unowned and its events unhandled; the others go on with theirs.
func TestStoppedStaticWorkerLeavesItsShare(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	fleet := s.fleet("w", 2)
	fleet[1].MustStop()
	mine, others := s.append(s.Pool, s.aggregateIn(0, 32)), s.append(s.Pool, s.aggregateIn(1, 32))
	s.eventually(patience, "the event of the worker that is left", "select exists (select from seen where projection = 'single' and global_position = $1)", mine)
	require.Equal(t, []int64{mine}, s.handled("single"))
	require.EqualValues(t, 32, s.int("select count(*) from projection_checkpoints where owner is null and partition % 2 = 1"))
	s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{recorder{name: "single"}, batchRecorder{recorder{name: "batched"}}}, WorkerIndex: 1, TotalWorkers: 2,
	})
	s.exact("single")
	require.Contains(t, s.handled("single"), others)
}
