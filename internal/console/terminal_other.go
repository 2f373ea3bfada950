//go:build !unix

package console

import "os"

// Size is 0: on these systems output is printed line by line, also on a terminal.
func Size(*os.File) (width, height int) { return 0, 0 }
