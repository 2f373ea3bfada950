package projection

import (
	"errors"

	"github.com/rouse-es/rouse/partition"
)

var (
	// ErrNoProjection means that no projection of that name has ever run here.
	ErrNoProjection = errors.New("projection: there is no such projection")

	// ErrPosition means that a position is beyond the log, or that of an event that is not there or handled already.
	ErrPosition = errors.New("projection: the position cannot be used")

	// ErrResizing means that another Resize is changing the number of partitions at this moment.
	ErrResizing = errors.New("projection: the number of partitions is being changed by another process")

	// ErrUneven means that partitions cannot be joined, because their checkpoints differ and did not become equal in time.
	// Nothing has changed.
	ErrUneven = errors.New("projection: partitions that are to be joined stand at different positions")

	// ErrCount means that a number of partitions is not a power of two from 1 to 1024. It is the error that a worker returns
	// for such a number.
	ErrCount = partition.ErrCount
)
