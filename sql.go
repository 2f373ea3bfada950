package rouse

import _ "embed" // the statements

var (
	//go:embed sql/work.sql
	sqlWork string
	//go:embed sql/free.sql
	sqlFree string
	//go:embed sql/stopped.sql
	sqlStopped string
	//go:embed sql/started.sql
	sqlStarted string
	//go:embed sql/reset_lock.sql
	sqlResetLock string
	//go:embed sql/reset.sql
	sqlReset string
	//go:embed sql/reset_refused.sql
	sqlResetRefused string
	//go:embed sql/attempts_note.sql
	sqlAttemptsNote string
	//go:embed sql/attempts_read.sql
	sqlAttemptsRead string
	//go:embed sql/attempts_forget.sql
	sqlAttemptsForget string
)
