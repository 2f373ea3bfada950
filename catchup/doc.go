// Package catchup reads the log of events without ever losing one, and saves how far a projection has come.
//
// This package is the worker's mechanism. It is public so that it can be read and tested by itself; it may change in
// any release.
//
// # The data's way
//
//	          log of events (PostgreSQL)
//	             │              │
//	             ▼              ▼
//	Reader, one per Feed      Reader, one per Source      each read: head, low water, events
//	             │              │                         the Source's: at a wake of package listener, or by polling
//	             │              ▼
//	             │            buffer                      the end of the log, read once for all Feeds
//	 far behind  │              │  all read               of the process
//	             ▼              ▼
//	           ┌──────────────────┐
//	           │       Feed       │                       one per projection that owns partitions
//	           └────────┬─────────┘
//	                    │ Batch, on Feed.C
//	                    ▼
//	          caller: applies the events                  both in one transaction
//	                    │ Save                            refused with ErrFenced unless owner, epoch,
//	                    ▼                                 floor and incarnation still hold
//	          checkpoints (PostgreSQL)
//
// A Reader reads for one set of slots from one position on, one Batch at a time. A Source runs one Reader at the end of
// the log for a whole process. A Feed brings one caller its events: it reads by itself while it is far behind, and goes
// on with the Source once it has read everything. Far behind, one of its reads brings several Batches, each handed out as soon
// as it is full (Reader.Flow), which grow while more events wait. A Save moves the checkpoints of the partitions in a batch.
//
// # Why no event is lost
//
// A position is taken at insert and seen at commit, so a reader that asks for "everything after my checkpoint" skips
// the commits that are slow. Here every appending transaction holds a shared advisory lock, K, whose key says from
// which position on it may still write (the append trigger takes it). A read is three statements, each with a snapshot
// of its own, in this order:
//
//  1. the head: the highest position given out;
//  2. the low water: the lowest position that a transaction now holding K could still fill;
//  3. the events.
//
// Everything up to the lower of the two is settled: a position at or below the head was taken after its owner's lock,
// so if the lock is not seen, its owner has ended, and statement 3 sees the row or no later statement will. There is no
// timeout in this, nothing to remember between reads, and nothing to wait for but transactions older than the hole. The
// events that a read has found below its horizon are good for that read only.
//
// Where the events that follow have no hole between them there is no position that anybody could fill, whatever the locks say.
// So a read need not look at them for those: Glance does not after a wake in a calm log, and Follow does not in a torrent, where
// it hands out what stands before a hole, and leaves the hole to a full read if it lasts.
//
// # What breaks it, and the consequence
//
//   - One snapshot for all three statements (REPEATABLE READ). The reader begins READ COMMITTED explicitly.
//   - The append trigger missing or off. Statement 2 checks its state, wherever a read looks for more than what follows
//     without a hole; ErrUnguarded, and no event is handed out until it is back. That is safe, since ALTER TABLE waits for
//     every writer in flight.
//   - A sequence with CACHE > 1: refused at Open.
//   - A standby, or the subscriber of a logical replication: refused at Open.
//   - A crash, a failover: the incarnation token differs, ErrIncarnation, and the caller starts over from its checkpoints.
//   - A log that ends before a checkpoint (TRUNCATE RESTART, a restore): ErrLogBehind.
package catchup
