// Package knownbad turns on faults that the product must not have, so that the tests can show that they would notice them.
//
// In an ordinary build no package of the product imports this one: each has a file fault.go, in which its faults are constants
// that are false and functions that do nothing, so the compiler leaves nothing of the places that ask. In a build with the tag
// rousefault the files fault_rousefault.go take their place, and the environment variable ROUSE_KNOWN_BAD turns on one fault by
// its name:
//
//	horizonless           everything up to the head passes for settled, whoever may still fill a hole below it
//	unfenced              a save tests nothing at all
//	client-fenced         a save that moves no row is noticed by the client, which has sent its COMMIT by then
//	remembered            cursor and horizon are kept when the database comes back from a crash as another incarnation
//	idle-ahead            while a handler works, the checkpoints of its partitions are moved on to the last visible event
//	unsettled             a reader sleeps as soon as the listener is armed, whatever is open
//	unprobed              a connection that delivers nothing passes for sound
//	checkpoint-in-memory  a worker goes on from the checkpoints that it remembers, not from those of the database
package knownbad
