package retention

import (
	"errors"
	"strings"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

const (
	// statementTimeout bounds each statement, and each transaction of a batch.
	statementTimeout = time.Minute

	// fileTimeout bounds a transaction in which a whole archive is compared or removed.
	fileTimeout = time.Hour
)

var (
	// ErrArchived means that events left the log behind which a projection would begin. See catchup.ErrArchived.
	ErrArchived = catchup.ErrArchived

	// ErrNoReaders means that no projection has ever read the log, so that nothing says which events are not needed any more.
	ErrNoReaders = errors.New("retention: no projection has checkpoints, so every event may still be waited for (run the workers first)")

	// ErrHeld means that a projection has come to need events while they were being archived: it was reset, or has parked one. They stay,
	// and the next Prune goes on.
	ErrHeld = errors.New("retention: events that were to be removed are needed again, and stay")

	// ErrDiffers means that the log does not hold what the archive does, so nothing was removed or lowered.
	ErrDiffers = errors.New("retention: the log and the archive differ")

	// ErrFile means that a file is no archive, is damaged, or is not the one that the database knows.
	ErrFile = errors.New("retention: the archive cannot be used")

	// ErrExists means that a file is there already that another log, or this one at another time, has written.
	ErrExists = errors.New("retention: the file is there already, and not of this log as it is now (run it again if another prune has just written it, else use another directory)")

	// ErrColumns means that the table events has columns that an archive has no room for.
	ErrColumns = errors.New("retention: the table events has columns that an archive would lose")

	// ErrNoStream means that there are no events of an aggregate, neither in the log nor, as far as is known, in an archive.
	ErrNoStream = errors.New("retention: there is no such aggregate, neither in the log nor in an archive that is known")

	// ErrIgnored means that a name in PruneOptions.Ignore is of no projection.
	ErrIgnored = errors.New("retention: there is no such projection to be ignored")
)

// trimPrefix returns the message of an error of this package for people.
func trimPrefix(text string) string { return strings.TrimPrefix(text, "retention: ") }
