//go:build !rousefault

package knownbad

// Built tells whether this build has faults to turn on.
const Built = false

// The faults, none of which this build has. Their meanings are in the file for the tag rousefault.
const (
	Horizonless        = false
	Unfenced           = false
	ClientFenced       = false
	Remembered         = false
	IdleAhead          = false
	Unsettled          = false
	Unprobed           = false
	CheckpointInMemory = false
)
