//go:build !rousefault

package integration_test

import "github.com/rouse-es/rouse/internal/knownbad"

// Only constants can be here, and only if all are false are the keys below two different ones: an ordinary build in which a
// fault could be turned on does not compile with its tests.
const anyFault = knownbad.Built || knownbad.Horizonless || knownbad.Unfenced || knownbad.ClientFenced || knownbad.Remembered ||
	knownbad.IdleAhead || knownbad.Unsettled || knownbad.Unprobed || knownbad.CheckpointInMemory

var _ = map[bool]struct{}{anyFault: {}, true: {}} // a duplicate key if anyFault is true
