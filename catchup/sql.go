package catchup

import (
	"embed"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlOpen           = db.Load(files, "open")
	sqlToken          = db.Load(files, "token")
	sqlCheckMarks     = db.Load(files, "check_marks")
	sqlWhole          = db.Load(files, "whole")
	sqlTokenInsert    = db.Load(files, "token_insert")
	sqlHead           = db.Load(files, "head")
	sqlLowWater       = db.Load(files, "low_water")
	sqlRead           = db.Load(files, "read")
	sqlPeek           = db.Load(files, "peek")
	sqlGlance         = db.Load(files, "glance")
	sqlGlanceTriggers = db.Load(files, "glance_triggers")
	sqlReadSlots      = db.Load(files, "read_slots")
	sqlReadTypes      = db.Load(files, "read_types")
	sqlNext           = db.Load(files, "next")
	sqlLastVisible    = db.Load(files, "last_visible")
	sqlSave           = db.Load(files, "save")
	sqlSaveAt         = db.Load(files, "save_at")
	sqlSaveOne        = db.Load(files, "save_one")
	sqlSaveJoint      = db.Load(files, "save_joint")
	sqlProbeCommit    = db.Load(files, "probe_commit")
	sqlProbeHold      = db.Load(files, "probe_hold")
	sqlPushKey        = db.Load(files, "push_key")
	sqlProbeLook      = db.Load(files, "probe_look")
	sqlStartBehind    = db.Load(files, "start_behind")
	sqlStartTime      = db.Load(files, "start_time")
)
