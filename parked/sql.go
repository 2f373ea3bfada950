package parked

import _ "embed" // the statements

var (
	//go:embed sql/list.sql
	sqlList string
	//go:embed sql/aggregates.sql
	sqlAggregates string
	//go:embed sql/lock_projection.sql
	sqlLockProjection string
	//go:embed sql/lock.sql
	sqlLock string
	//go:embed sql/retry.sql
	sqlRetry string
	//go:embed sql/discard.sql
	sqlDiscard string
)
