package listener

import _ "embed" // the statements

var (
	//go:embed sql/settings.sql
	sqlSettings string
	//go:embed sql/presence.sql
	sqlPresence string
	//go:embed sql/lock_timeout.sql
	sqlLockTimeout string
	//go:embed sql/arm.sql
	sqlArm string
	//go:embed sql/armed_head.sql
	sqlArmedHead string
	//go:embed sql/disarm.sql
	sqlDisarm string
	//go:embed sql/probe.sql
	sqlProbe string
)
