// Package rebuild builds the read model of a projection anew beside the one that is live, and puts it into its place.
//
// What is built is a shadow: a projection of its own, named NAME@rebuild, or NAME@VERSION where the handler is of another version, with
// its own checkpoints, members, parked events and lag. Its tables are in a schema of its own, which its handlers have first in their
// search_path. So it is as exact as any projection, goes on where it was after a crash, and is shared by all workers.
//
//	Request    makes the shadow, and tells the workers
//	Prepare    makes its tables, in a worker, which alone knows them
//	Swap       puts it into the place of the live one, in one transaction: tables, checkpoints, parked events and version
//	Drop       removes it
//
// A swap first brings both to one position by a barrier, as a change of the number of partitions does. Then it locks all of the tables,
// for which readers wait a moment, and all of the checkpoints, and looks again under these locks.
package rebuild
