package aggregate

import "reflect"

// The statements, for the tests of their locks and plans.
var (
	SQLReadSnapshot = sqlReadSnapshot
	SQLSaveSnapshot = sqlSaveSnapshot
)

// CheckState is checkState.
func CheckState(t reflect.Type) error { return checkState(t) }
