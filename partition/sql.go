package partition

import _ "embed" // the statements

var (
	//go:embed sql/ensure_insert.sql
	sqlEnsureInsert string
	//go:embed sql/ensure_checkpoints.sql
	sqlEnsureCheckpoints string
	//go:embed sql/claim.sql
	sqlClaim string
	//go:embed sql/claimable.sql
	sqlClaimable string
	//go:embed sql/release.sql
	sqlRelease string
	//go:embed sql/heartbeat.sql
	sqlHeartbeat string
	//go:embed sql/forget.sql
	sqlForget string
)
