//go:build rousefault

package knownbad

import "os"

// Variable names the fault that is turned on.
const Variable = "ROUSE_KNOWN_BAD"

// Built tells whether this build has faults to turn on.
const Built = true

var chosen = os.Getenv(Variable)

// The faults.
var (
	// Horizonless: everything up to the head passes for settled, whoever may still fill a hole below it.
	Horizonless = chosen == "horizonless"

	// Unfenced: a save tests nothing at all.
	Unfenced = chosen == "unfenced"

	// ClientFenced: a save that moves no row is noticed by the client, which has sent its COMMIT by then.
	ClientFenced = chosen == "client-fenced"

	// Remembered: cursor and horizon are kept when the database comes back from a crash as another incarnation.
	Remembered = chosen == "remembered"

	// IdleAhead: while a handler works, the checkpoints of its partitions are moved on to the last visible event.
	IdleAhead = chosen == "idle-ahead"

	// Unsettled: a reader sleeps as soon as the listener is armed, whatever is open.
	Unsettled = chosen == "unsettled"

	// Unprobed: a connection that delivers nothing passes for sound.
	Unprobed = chosen == "unprobed"

	// CheckpointInMemory: a worker goes on from the checkpoints that it remembers, not from those of the database.
	CheckpointInMemory = chosen == "checkpoint-in-memory"
)

// Names are those of all faults.
func Names() []string {
	return []string{"horizonless", "unfenced", "client-fenced", "remembered", "idle-ahead", "unsettled", "unprobed", "checkpoint-in-memory"}
}
