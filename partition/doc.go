// Package partition assigns the parts of a projection to workers.
//
// This package is the worker's mechanism. It is public so that it can be read and tested by itself; it may change in
// any release. Operators change projections with package projection.
//
// A projection is cut into partitions, a power of two of them; an event belongs to the one that its slot falls into, so
// an aggregate is always in the same partition. A partition has a checkpoint row with at most one owner, the instance
// id of a process, and an epoch that rises each time the row changes hands.
//
// # Safe by itself: the fence
//
// A save tests the owner, the epoch, the checkpoint that the batch was read from, and the incarnation of the database,
// in the transaction that it guards (package catchup). A worker that has lost a partition without knowing it cannot
// commit. Claim and Release raise the epoch, wait for a save in flight and commit synchronously. Everything below
// decides how soon and how evenly partitions change hands, never whether an event is handled twice: a wrong answer
// costs a batch that is rolled back.
//
// # Members
//
// A process is a member of a log, under an id that is new at every start. On a connection of its own (Session) it holds the
// presence lock, a session-level advisory lock under a key of its own. The session that listens holds it as well: a process that
// is killed loses both at once, and one whose single connection is cut loses one and stays. On the same connection its Control
//
//   - sends heartbeats, each of which writes its row in projection_workers: label, kind, MaxPartitions, the partitions that it
//     avoids, whether it is leaving, for how long the heartbeat is valid, and the figures that status shows. Its answer is a look
//     at the other members;
//   - calls the roll: it looks at the locks alone, whether one of those has lost its presence whom the last look knew.
//
// How often depends on whether there is something to lose. A member is awake while its process has seen an event in the last 3 s,
// while it or another member has work in hand, and until every member owns what it should. Then a heartbeat is sent five times in a TTL,
// and the roll is called every 100 ms, and 10 ms later for each further member; the first event after a rest causes a look at once.
// At rest there is a heartbeat every 2 s, which is valid for a TTL; every 12 s, valid for 30, where shares are fixed; and less often,
// valid for longer, where many logs share a session, a log has many members (every 12 s at least), or IdleInterval says so. What members plan by, and what operators ask for, is
// told by notifications of the table's triggers (migration 13), which the listening connection passes on (Control.Look). Where
// nothing tells (ControlConfig.Told), members look every 100 ms awake and every second at rest.
//
// A process that works on many logs of one database has a Control for each of them, and one Session for all. A statement that
// fails for a reason of its own log, whose schema was dropped for example, is the trouble of that Control alone.
//
// The view rouse_members decides for all, by the clock of the database, which members are alive: those that have sent a
// heartbeat that is still valid and, if their row names a presence lock, still hold that. A restart of the server takes
// all locks and keeps heartbeats out, so after one every member with a heartbeat in the ten minutes before gets its TTL
// once more. Claim and Look read the same view.
//
// # Shares
//
// No member leads. Every elastic member looks at the same owners and members (Look), computes the same assignment
// (Assign), and does its own part of it: it gives up the partitions beyond its share, and claims those that it should
// have once no living member owns them. Two that look at different moments may disagree for a while; then one waits, or
// claims nothing, and looks again. Shares differ by one at most, except where MaxPartitions or a hung handler prevents
// it, and as few partitions as possible move.
//
// A member
//
//   - joins: the others see one more, save, and give up their excess; it claims that, looking every 20 ms;
//   - leaves: it says so in its row, and the others plan without it; it finishes the batch in hand, saves, and releases
//     all;
//   - is killed: its locks go with its sessions, and at their next look the others claim its partitions;
//   - is frozen or cut off: its heartbeats stop; after its TTL the others claim its partitions, and end its sessions
//     where the role may (Terminate), so that its open transaction holds no row any longer;
//   - has a handler that ignores the end of its context: it releases the partitions, and avoids them until the handler
//     returns, or for 30 s.
//
// A member that is cut off stops by itself before others may take its partitions: its trust (Control.Trust) ends four
// fifths of the validity of the last heartbeat that got through after its sending, by its own clock, and the contexts of its
// handlers end with it. Before one is sent that is valid for less long, the trust is shortened: its answer may be lost. A loss of the control connection for less than that moves nothing.
//
// # Static workers
//
// Static workers own the partitions p with p mod TOTAL_WORKERS = WORKER_ID, and no other worker takes these while they
// are away. A process that starts takes them from their owner, so a restarted worker goes on at once; a twin that was
// started by mistake loses them, stands by, and takes over when the other is gone. Static and elastic workers would
// undo each other's shares, so of two kinds that meet on a projection the one that came later, by the database's clock,
// is refused (ErrMixed).
//
// # The number of partitions
//
// The number of partitions can be changed while workers run (projection.Resize). Splitting copies a checkpoint to each
// part. Joining needs equal checkpoints, so owners stop at a barrier: the highest checkpoint that any of them has
// reached, up to which everything is settled. The barrier is a matter of speed only. A change is safe because it reads
// the checkpoints under the locks of all of them, raises all epochs in the same transaction, and because a claim tests
// the number of partitions that it is for.
//
// # What would break it
//
//   - A save without its fence, or a handler's writes outside the transaction that the fence guards.
//   - A claim that a crash can undo: it would give one epoch to two owners. Hence the synchronous commits.
//   - An instance id that is used twice. It is made at random at every start, and is never the label.
//   - A presence lock taken through a transaction pooler: it stays with a session of the pooler, and its process never
//     seems to die. Control takes none where it finds a pooler, and the heartbeat alone decides.
//   - Members that count the living differently, by clocks or settings of their own. Hence one view, and a TTL in each
//     row.
//   - Trust counted from the answer to a heartbeat instead of its sending: the database may have dated it earlier.
package partition
