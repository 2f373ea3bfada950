package rouse

import _ "embed" // the statements

var (
	//go:embed sql/work.sql
	sqlWork string
	//go:embed sql/stopped.sql
	sqlStopped string
	//go:embed sql/started.sql
	sqlStarted string
)
