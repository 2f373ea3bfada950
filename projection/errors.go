package projection

import (
	"errors"

	"github.com/rouse-es/rouse/internal/rebuild"
	"github.com/rouse-es/rouse/partition"
)

var (
	// ErrNoProjection means that there is no projection of that name: none has ever run here, or it was dropped or renamed, which the message says.
	ErrNoProjection = rebuild.ErrNoProjection

	// ErrExists means that there is a projection of that name already.
	ErrExists = errors.New("projection: there is such a projection already")

	// ErrInUse means that a living worker runs the projection.
	ErrInUse = errors.New("projection: a living worker runs the projection (stop it first)")

	// ErrBeside means that something is built or kept beside the projection, under a name of its own, which has to be dropped before.
	ErrBeside = errors.New("projection: there is something beside the projection (drop that first)")

	// ErrNotStopped means that a projection is dropped, and that a worker still calls its handler.
	ErrNotStopped = errors.New("projection: a worker has not stopped the projection")

	// ErrName means that no projection can have that name.
	ErrName = errors.New("projection: the name cannot be used")

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
