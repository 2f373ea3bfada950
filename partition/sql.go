package partition

import _ "embed" // the statements

var (
	//go:embed sql/ensure_insert.sql
	sqlEnsureInsert string
	//go:embed sql/ensure_checkpoints.sql
	sqlEnsureCheckpoints string
	//go:embed sql/claim.sql
	sqlClaim string
	//go:embed sql/release.sql
	sqlRelease string
	//go:embed sql/heartbeat.sql
	sqlHeartbeat string
	//go:embed sql/forget.sql
	sqlForget string
	//go:embed sql/owners.sql
	sqlOwners string
	//go:embed sql/members.sql
	sqlMembers string
	//go:embed sql/state.sql
	sqlState string
	//go:embed sql/state_set.sql
	sqlStateSet string
	//go:embed sql/raise.sql
	sqlRaise string
	//go:embed sql/reset_request.sql
	sqlResetRequest string
	//go:embed sql/skip.sql
	sqlSkip string
	//go:embed sql/watch.sql
	sqlWatch string
	//go:embed sql/settings.sql
	sqlSettings string
	//go:embed sql/presence.sql
	sqlPresence string
	//go:embed sql/terminate.sql
	sqlTerminate string
)
