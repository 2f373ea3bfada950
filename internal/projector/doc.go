// Package projector runs one projection in one process: it claims partitions, reads for them, has their events applied,
// shares the partitions with the other members, and starts over when a condition that it relied on has changed.
//
// # States
//
//	                             ┌──────────┐
//	                             │ starting │
//	                             └────┬─────┘
//	               claims none        │        claims some
//	               ┌──────────────────┴──────────────────┐
//	               ▼                                     ▼
//	╔═ owns none ══════════════╗            ╔═ owns some ════════════════════════╗
//	║                          ║   claims   ║                                    ║
//	║ ┌────────┐   ┌─────────┐ ║ ─────────▶ ║ ┌─────────────┐ all read  ┌──────┐ ║
//	║ │ paused │◀─▶│ standby │ ║            ║ │             │──────────▶│      │ ║
//	║ └────────┘   └─────────┘ ║ ◀───────── ║ │ catching-up │           │ live │ ║
//	║                          ║  gives up  ║ │             │◀──────────│      │ ║
//	║  while an     others own ║    all     ║ └─────────────┘ far       └──────┘ ║
//	║  operator     its share, ║            ║                 behind             ║
//	║  wants it     or none is ║            ╚════════╤══════════════════▲════════╝
//	║               left       ║           something │                  │ a batch
//	╚══════════════════════════╝               fails ▼                  │ handled
//	                                            ┌──────────┐            │
//	                                            │ retrying │────────────┘
//	                                            └──────────┘
//
//	              ┌─────────┐  for good: an event failed too often under apply.Stop,
//	any state ──▶ │ stopped │  or only a person can help (classifyFatal); a new worker
//	              └─────────┘  takes the projection up again
//
// A claim alone changes no state: a projection shows its last one until events have been handled. Then it is live if
// everything is handled, and catching-up if it is far behind, by more than four batches, or was not live and has left a
// part of a batch; less far behind it keeps its state, but after retrying it is catching-up. It is retrying when everything waits for something to be tried again: an
// event fails under apply.Stop or other transactions are in its way, a handler hangs, the heartbeats do not get through,
// the append trigger or a right is missing, or a statement of the worker's own fails, for whatever reason (explain has a
// sentence for each); the last four may also come over a projection that owns none, and lead back there. An event that is set aside until its next try changes no state.
//
// Beside retrying, and not drawn, is waiting: what the handler depends on is away (apply.Breaker). Nothing but a trial is
// handled until one succeeds; then it is as after retrying. The breaker outlives sessions, and each one with partitions shows
// the state again. Partitions are kept meanwhile, and given up at once where others are to have them: the loop waits for the
// next trial as it waits for a batch.
//
// # Sessions
//
// A Projector lives through sessions. A session is the time during which one claim is valid, in one incarnation of the
// database:
//
//	open     the log, the incarnation, the number of partitions; how they are shared (look);
//	         start over if an operator asked for it, and go on as before if that fails; give up the partitions
//	         beyond the share; claim; compare the checkpoints with the log of now;
//	         the attempts and parked events that earlier owners left behind (apply.Open)
//	run      with partitions: a Feed brings batches, handle has them applied in rounds of about
//	         Handler.BatchTime; before each round comes whatever else is due (next): to stop, to
//	         look at the shares again, to move idle partitions on, to retry parked events
//	standby  without: look again until there is a partition to claim
//
// One goroutine uses everything in a session, so nothing is unfinished when it saves an idle partition. It starts the
// goroutine of the Feed and waits for its end.
//
// # Starting over
//
// A session ends without a fault when ctx is cancelled, when partitions are to be given up or can be taken, when a
// barrier has moved on past events that were left out, and when the projection is to be reset (rebalance). It ends with
// an error when the number of partitions has changed, a partition has another owner, the incarnation is another one,
// the process may no longer rely on its leases, a handler hangs, or anything fails. The next session starts from the
// database, after the pause that explain returns.
//
// The Projector itself ends when ctx is cancelled, or with an apply.StoppedError. Stopped, it keeps its partitions:
// other workers would stop at the same event.
package projector
