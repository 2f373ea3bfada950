package projection

import _ "embed" // the statements

var (
	//go:embed sql/state_set.sql
	sqlStateSet string
	//go:embed sql/raise.sql
	sqlRaise string
	//go:embed sql/reset_request.sql
	sqlResetRequest string
	//go:embed sql/reset_last.sql
	sqlResetLast string
	//go:embed sql/skip_lock.sql
	sqlSkipLock string
	//go:embed sql/skip.sql
	sqlSkip string
	//go:embed sql/resize_counts.sql
	sqlResizeCounts string
	//go:embed sql/resize_barrier.sql
	sqlResizeBarrier string
	//go:embed sql/resize_lift_barrier.sql
	sqlResizeLiftBarrier string
	//go:embed sql/resize_lock.sql
	sqlResizeLock string
	//go:embed sql/resize_lock_all.sql
	sqlResizeLockAll string
	//go:embed sql/resize_split.sql
	sqlResizeSplit string
	//go:embed sql/resize_join.sql
	sqlResizeJoin string
	//go:embed sql/resize_raise.sql
	sqlResizeRaise string
	//go:embed sql/resize_finish.sql
	sqlResizeFinish string
	//go:embed sql/resize_waits.sql
	sqlResizeWaits string
)
