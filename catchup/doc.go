// Package catchup reads the log of events without ever losing one, and saves how far a projection has come.
//
// A position is taken at insert and seen at commit, so a reader that asks for "everything after my checkpoint" skips the
// commits that are slow. Here every appending transaction holds a shared advisory lock, K, whose key says from which
// position on it may still write (the append trigger takes it). A read is three statements, each with a snapshot of its
// own, in this order:
//
//  1. the head: the highest position given out;
//  2. the low water: the lowest position that a transaction now holding K could still fill;
//  3. the events.
//
// Everything up to the lower of the two is settled: a position at or below the head was taken after its owner's lock, so
// if the lock is not seen, its owner has ended, and statement 3 sees the row or nobody ever will. There is no timeout in
// this, nothing to remember between reads, and nothing to wait for but transactions older than the hole. What a read has
// settled is good for the rows of that read only.
//
// # What breaks it, and what happens then
//
//   - One snapshot for all three statements (REPEATABLE READ). The reader begins READ COMMITTED explicitly.
//   - The append trigger missing or off. The state is looked at in statement 2 of every read; ErrUnguarded, and nothing is
//     handed out until it is back. That is safe, since ALTER TABLE waits for every writer in flight.
//   - A sequence with CACHE > 1: refused at Open.
//   - A standby, or the subscriber of a logical replication: refused at Open.
//   - A crash, a failover: the incarnation token differs, ErrIncarnation, and the caller starts over from its checkpoints.
//   - A log that ends before a checkpoint (TRUNCATE RESTART, a restore): ErrLogBehind.
package catchup
