// Package partition says who handles which part of a projection.
//
// A projection is cut into partitions, a power of two of them; an event belongs to the one that its slot falls into, so an
// aggregate is always in the same partition. A partition has a checkpoint row with at most one owner, the instance id of a
// process, and an epoch that rises each time the row changes hands.
//
// # What is safe by itself: the fence
//
// A save tests the owner, the epoch, the checkpoint that the batch was read from, and the incarnation of the database, in the
// transaction that it guards (package catchup). Whoever has lost a partition without knowing it cannot commit. Claim and
// Release raise the epoch, wait for a save in flight and commit synchronously. Everything below decides how soon and how
// evenly partitions change hands, never whether an event is handled twice: a wrong answer costs a batch that is rolled back.
//
// # Who is there: members
//
// A process is a member, under an id that is new at every start. Its Control holds a connection of its own, on which it
//
//   - holds the presence lock, a session-level advisory lock under a key of its own. The session that listens holds it as well:
//     a process that is killed loses both at once, and one whose single connection is cut loses one and stays;
//   - sends a heartbeat five times in a TTL, which writes its row in projection_workers: label, kind, MaxPartitions, what it
//     avoids, whether it is leaving, and what status shows;
//   - looks every 100 ms, and 5 ms later for each member, who is there.
//
// The view rouse_members decides for everybody, by the clock of the database, who is alive: whoever has sent a heartbeat within
// its TTL and, if its row names a presence lock, still holds that. A restart of the server takes all locks and keeps heartbeats
// out, so after one whoever had spoken in the ten minutes before gets its TTL once more. Claim and Look ask the same view.
//
// # Who should own what: shares
//
// Nobody leads. Every elastic member looks at the same owners and members (Look), computes the same assignment (Assign), and
// does its own part of it: it gives up what is beyond its share, and claims what it should have once nobody alive has it. Two
// that look at different moments may disagree for a while; then one waits, or claims nothing, and looks again. Shares differ
// by one at most, except where MaxPartitions or a hung handler stands against it, and as few partitions as possible move.
//
// A member
//
//   - joins: the others see one more, save, and give up their excess; it claims that, looking every 20 ms;
//   - leaves: it says so in its row, and the others plan without it; it finishes the batch in hand, saves, and releases all;
//   - is killed: its locks go with its sessions, and at their next look the others claim what it had;
//   - is frozen or cut off: its heartbeats stop; after its TTL the others claim what it had, and end its sessions where the
//     role may (Terminate), so that its open transaction holds no row any longer;
//   - has a handler that ignores the end of its context: it releases the partitions, and avoids them until the handler is back.
//
// A member that is cut off stops by itself before others may take what it has: its trust (Control.Trust) ends four fifths of
// a TTL after the sending of the last heartbeat that got through, by its own clock, and the contexts of its handlers end with
// it. To lose the control connection for less than that moves nothing.
//
// # Static workers
//
// Static workers own the partitions p with p mod TOTAL_WORKERS = WORKER_ID, and nobody else takes these while they are away.
// A process that starts takes them from whoever has them, so a restarted worker goes on at once; a twin that was started by
// mistake loses them, stands by, and takes over when the other is gone. Static and elastic workers would undo each other's
// shares, so of two kinds that meet on a projection the one that came later, by the database's clock, is refused (ErrMixed).
//
// # How many there are
//
// The number of partitions can be changed while workers run (Resize). Splitting copies a checkpoint to each part. Joining needs
// equal checkpoints, so owners are held at a barrier: the highest checkpoint that any of them has reached, up to which everything
// is settled. The barrier is a matter of speed only. What makes a change safe is that it looks at the checkpoints under the locks
// of all of them, raises all epochs in the same transaction, and that a claim tests the number of partitions it is for.
//
// # What would break it
//
//   - A save without its fence, or a handler's writes outside the transaction that the fence guards.
//   - A claim that a crash can undo: it would give one epoch to two owners. Hence the synchronous commits.
//   - An instance id that is used twice. It is made at random at every start, and is never the label.
//   - A presence lock taken through a transaction pooler: it stays with a session of the pooler, and its process never seems
//     to die. Control takes none where it finds a pooler, and the heartbeat alone decides.
//   - Members that count the living differently, by clocks or settings of their own. Hence one view, and a TTL in each row.
//   - Trust counted from the answer to a heartbeat instead of its sending: the database may have dated it earlier.
package partition
