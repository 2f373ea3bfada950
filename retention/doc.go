// Package retention lets events leave the log: for an archive, once every projection has handled them and they are old enough, or for
// good, because a person asks to be forgotten.
//
// # What is promised
//
// An event leaves the log only if it is in a file that was written, synced and read back, byte for byte; if every projection that is
// not named in PruneOptions.Ignore has passed it, with nothing parked at or before it; and if it is not the last event of the log, nor,
// unless asked for, of its stream. What is compared with the file is what the deletion returns, in its transaction. Where a process is killed,
// the next Prune goes on where it was.
//
// The log then begins behind whole_from (table rouse_retention). A projection that would begin below is refused by the database, in
// whatever way its checkpoint is made or set back: it would be built of half a history. Restore puts the events back where they were, so that
// a projection can be rebuilt over all of history, and a later Prune takes them out again without writing the files anew.
//
// # Two things at once
//
// Whoever removes events locks the row of rouse_retention for update, and then looks at the checkpoints; whoever makes a checkpoint or sets
// one back locks it for share, by a trigger. So no projection can begin at a position between the look and the deletion.
//
// All functions need the rights of the owner of the tables. They may be called beside workers and appenders, and by several processes
// at once, of which all but one may fail.
package retention
