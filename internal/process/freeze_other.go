//go:build !unix

package process

import (
	"errors"
	"os"
)

// CanFreeze reports whether this system can stop a process where it stands and let it go on.
const CanFreeze = false

// errFreeze is what Freeze and Thaw return where CanFreeze is false.
var errFreeze = errors.New("this system cannot freeze a process")

func freeze(*os.Process) error { return errFreeze }

func thaw(*os.Process) error { return errFreeze }
