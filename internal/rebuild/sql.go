package rebuild

import (
	"embed"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlList            = db.Load(files, "list")
	sqlVersions        = db.Load(files, "versions")
	sqlRequest         = db.Load(files, "request")
	sqlTell            = db.Load(files, "tell")
	sqlAdopt           = db.Load(files, "adopt")
	sqlKnown           = db.Load(files, "known")
	sqlReadyLock       = db.Load(files, "ready_lock")
	sqlReady           = db.Load(files, "ready")
	sqlFailed          = db.Load(files, "failed")
	sqlSwapWanted      = db.Load(files, "swap_wanted")
	sqlSchema          = db.Load(files, "schema")
	sqlResolve         = db.Load(files, "resolve")
	sqlHome            = db.Load(files, "home")
	sqlMade            = db.Load(files, "made")
	sqlLockRows        = db.Load(files, "lock_rows")
	sqlLockCheckpoints = db.Load(files, "lock_checkpoints")
	sqlCounts          = db.Load(files, "counts")
	sqlBarrier         = db.Load(files, "barrier")
	sqlLiftBarrier     = db.Load(files, "lift_barrier")
	sqlParked          = db.Load(files, "parked")
	sqlMoveParked      = db.Load(files, "move_parked")
	sqlMoveAttempts    = db.Load(files, "move_attempts")
	sqlKeep            = db.Load(files, "keep")
	sqlTakeCheckpoints = db.Load(files, "take_checkpoints")
	sqlTakePlace       = db.Load(files, "take_place")
	sqlGone            = db.Load(files, "gone")
	sqlRetire          = db.Load(files, "retire")
	sqlRaise           = db.Load(files, "raise")
	sqlRefuse          = db.Load(files, "refuse")
	sqlCopy            = db.Load(files, "copy")
	sqlReplaced        = db.Load(files, "replaced")
	sqlUsage           = db.Load(files, "usage")
	sqlBesides         = db.Load(files, "besides")
	sqlRebuilt         = db.Load(files, "rebuilt")
)
