package parked

import _ "embed" // the statements

var (
	//go:embed sql/list.sql
	sqlList string
	//go:embed sql/lock.sql
	sqlLock string
	//go:embed sql/retry.sql
	sqlRetry string
	//go:embed sql/discard.sql
	sqlDiscard string
	//go:embed sql/aggregates.sql
	sqlAggregates string
	//go:embed sql/still.sql
	sqlStill string
	//go:embed sql/hold.sql
	sqlHold string
	//go:embed sql/park.sql
	sqlPark string
	//go:embed sql/due.sql
	sqlDue string
	//go:embed sql/handled.sql
	sqlHandled string
	//go:embed sql/failed.sql
	sqlFailed string
)
