package projector

import (
	"embed"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlStopped     = db.Load(files, "stopped")
	sqlStarted     = db.Load(files, "started")
	sqlResetLock   = db.Load(files, "reset_lock")
	sqlReset       = db.Load(files, "reset")
	sqlDead        = db.Load(files, "dead")
	sqlResetFailed = db.Load(files, "reset_failed")
	sqlReply       = db.Load(files, "reply")
	sqlConfirm     = db.Load(files, "confirm")
)
