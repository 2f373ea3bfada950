package apply

import (
	"embed"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlJoint            = db.Load(files, "joint")
	sqlWork             = db.Load(files, "work")
	sqlWorkImplicit     = db.Load(files, "work_implicit")
	sqlRestore          = db.Load(files, "restore")
	sqlStray            = db.Load(files, "stray")
	sqlForms            = db.Load(files, "forms")
	sqlEncoding         = db.Load(files, "encoding")
	sqlSession          = db.Load(files, "session")
	sqlLeft             = db.Load(files, "left")
	sqlAttemptsNote     = db.Load(files, "attempts_note")
	sqlAttemptsRead     = db.Load(files, "attempts_read")
	sqlAttemptsBack     = db.Load(files, "attempts_back")
	sqlAttemptsForget   = db.Load(files, "attempts_forget")
	sqlPark             = db.Load(files, "park")
	sqlParkedAggregates = db.Load(files, "parked_aggregates")
	sqlParkedHold       = db.Load(files, "parked_hold")
	sqlParkedStill      = db.Load(files, "parked_still")
	sqlParkedDue        = db.Load(files, "parked_due")
	sqlParkedAdopt      = db.Load(files, "parked_adopt")
	sqlParkedQueue      = db.Load(files, "parked_queue")
	sqlParkedNote       = db.Load(files, "parked_note")
	sqlParkedUntried    = db.Load(files, "parked_untried")
	sqlParkedHandled    = db.Load(files, "parked_handled")
	sqlParkedDeferred   = db.Load(files, "parked_deferred")
	sqlParkedFailed     = db.Load(files, "parked_failed")
)
