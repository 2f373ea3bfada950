//go:build rousefault

package catchup

import (
	_ "embed" // the statements
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/knownbad"
)

var (
	horizonless = knownbad.Horizonless
	remembered  = knownbad.Remembered
)

var (
	//go:embed fault/save_unfenced.sql
	sqlSaveUnfenced string
	//go:embed fault/save_silent.sql
	sqlSaveSilent string
	//go:embed fault/save_partly.sql
	sqlSavePartly string
)

// spoilt queues the save of the fault that is turned on, or nothing.
func (s Save) spoilt(batch *pgx.Batch) *pgx.QueuedQuery {
	partitions := make([]int32, len(s.Fences))
	epochs := make([]int64, len(s.Fences))
	floors := make([]int64, len(s.Fences))
	for i, f := range s.Fences {
		partitions[i], epochs[i], floors[i] = int32(f.Partition), f.Epoch, f.Floor
	}
	switch {
	case knownbad.Unfenced:
		return batch.Queue(sqlSaveUnfenced, s.Projection, partitions, s.To)
	case knownbad.ClientFenced:
		return batch.Queue(sqlSaveSilent, s.Projection, s.Instance, string(s.Token), partitions, epochs, floors, s.To)
	case knownbad.Remembered:
		return batch.Queue(sqlSavePartly, s.Projection, s.Instance, partitions, epochs, floors, s.To, true)
	case knownbad.CheckpointInMemory:
		remember(s)
		return batch.Queue(sqlSavePartly, s.Projection, s.Instance, partitions, epochs, floors, s.To, false)
	}
	return nil
}

// checkpoint is a partition of a projection.
type checkpoint struct {
	projection string
	partition  int
}

// saved are the last positions saved by this process.
var saved sync.Map // of checkpoint: int64

func remember(s Save) {
	for _, f := range s.Fences {
		saved.Store(checkpoint{s.Projection, f.Partition}, s.To)
	}
}

// RememberedFloor is the position that this process has saved last of a partition, or the given one if it has saved none.
func RememberedFloor(projection string, partition int, floor int64) int64 {
	if to, is := saved.Load(checkpoint{projection, partition}); is {
		return max(floor, to.(int64))
	}
	return floor
}
