package partition

import (
	"embed"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlEnsureCheckpoints = db.Load(files, "ensure_checkpoints")
	sqlClaim             = db.Load(files, "claim")
	sqlRelease           = db.Load(files, "release")
	sqlHeartbeat         = db.Load(files, "heartbeat")
	sqlLeave             = db.Load(files, "leave")
	sqlForget            = db.Load(files, "forget")
	sqlOwners            = db.Load(files, "owners")
	sqlMembers           = db.Load(files, "members")
	sqlState             = db.Load(files, "state")
	sqlWatch             = db.Load(files, "watch")
	sqlRollCall          = db.Load(files, "roll_call")
	sqlSettings          = db.Load(files, "settings")
	sqlPresence          = db.Load(files, "presence")
	sqlPlace             = db.Load(files, "place")
	sqlTerminate         = db.Load(files, "terminate")
	sqlAgreed            = db.Load(files, "agreed")
	sqlEnsureAll         = db.Load(files, "ensure_all")
	sqlEnsureLook        = db.Load(files, "ensure_look")
)
