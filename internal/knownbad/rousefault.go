//go:build rousefault

package knownbad

import "os"

// Built tells whether this build has faults to turn on.
const Built = true

// The faults; the package comment says what they mean. Not to be changed.
var (
	chosen = os.Getenv("ROUSE_KNOWN_BAD")

	Horizonless        = chosen == "horizonless"
	Unfenced           = chosen == "unfenced"
	ClientFenced       = chosen == "client-fenced"
	Remembered         = chosen == "remembered"
	IdleAhead          = chosen == "idle-ahead"
	Unsettled          = chosen == "unsettled"
	Unprobed           = chosen == "unprobed"
	CheckpointInMemory = chosen == "checkpoint-in-memory"
)
