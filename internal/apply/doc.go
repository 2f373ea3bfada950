// Package apply handles one batch of events: one transaction, the checkpoints that commit with it, and the treatment of
// a failure. It does not know the source of the events, and calls nothing above it but the handler and the hooks that
// it was made with.
//
// # The order of statements
//
// A batch is one transaction, READ COMMITTED. Its statements come in this order:
//
//	1  begin; settings of a working transaction      sql/work.sql
//	2  lock the partitions; which aggregates are     sql/parked_hold.sql, sql/parked_still.sql
//	   still parked?
//	3  the statements of the handler                 Handler.Apply or Handler.ApplyBatch
//	4  forget attempts; set events aside; take       sql/attempts_forget.sql, sql/park.sql,
//	   handled ones out of their queue               sql/parked_handled.sql
//	5  save the checkpoints                          catchup.Save
//	6  commit
//
// Step 2 is there only where events of the batch may belong behind parked ones, or are parked ones that are retried.
// Each part of step 4 is there only where it has something to do. Step 5 raises in the server unless owner, epoch,
// floor and incarnation are still those that the events were read under, so step 6 cannot commit the work of a replaced
// owner. A batch that is sent as a whole, and only reads and writes rows, goes without the begin and the commit: the Sync behind it
// is the commit (implicit.go, sql/work_implicit.sql).
//
// The steps travel like this:
//
//	handler            function      round trips
//	Apply              runEach       1; 3, one for each statement of the handler; 4 to 6
//	ApplyBatch         runPipelined  1 and 3 to 6 in one; if the handler reads results: 1 and 3, then 4 to 6
//	  beside others    Joint          1 and 3 to 6 of several projections in one, without step 4
//	behind parked      runBehindParked, runParked
//	                                 1 and 2; then 3 to 6 as above
//	Do                 transactions.save, after the work
//	                                 1 and 4 to 6 in one; park, for an event behind parked ones: 1 and 2, then 4 to 6
//
// # Time
//
// Apply is one round. It ends after Handler.BatchTime, or when the worker has to stop or may have to give partitions up,
// and returns what is left of its events (budget). One event is handled in every round.
//
//	Apply, Do             ask the budget between two events; the transaction ends with what is done
//	ApplyBatch            cannot be interrupted: the size of a batch follows the time of the last ones (Pace)
//
// Batches of Apply and ApplyBatch grow beyond the first size while they take 100 ms at most and none fails (Pace).
//
// So a batch that is tried may be smaller than the events that Apply got, and a transaction smaller than the batch.
//
// # Calls
//
// The calls of Apply in one transaction are made by one goroutine, which the goroutine of the transaction watches (guard). Each has a
// transaction and a context of its own (HandlerTx, callContext), which end with it. A call that does not come back is left behind with its
// goroutine, and the connection is cut; nothing else is done for the batch there. Calls of the other forms have a goroutine each
// (guarded).
//
// # Tries
//
// A batch that fails is halved until the failing event is found, which is then tried by itself; halving counts no try.
// A batch of ApplyBatch that exceeds Handler.Timeout is not halved: smaller ones follow, and no event is blamed.
//
// Under Park and Skip the first failure by itself sets the event aside (failedAlone): one transaction moves the checkpoint past it
// and puts it into parked_events, with the time of its next try. Later events of its aggregate go behind it, and these rows are the
// queue of the aggregate. Only the first row of a queue has a time, and the queue is due then; without one it waits for people. The
// caller calls RetryParked at NextDue, which reads a few of the queues that are due and tries their first rows (retryQueue): several
// together as long as none was tried before, else one; those of an effect one after the other. A try is written to its row before it
// is made, with the time of the next, so a process that dies of it has counted it, and nobody tries again at once. It is taken back
// where it was not made or an outage ended it; if the database does not hear that, the next session tells it (Untried). After
// Retry.Tries, after diedLimit tries in a row from which no handler has returned, or with a Permanent error, OnFailure decides
// (giveUpParked). What is first in the queue then is due at once. A row costs one update before its try and its deletion, whatever is
// behind it.
//
// Under Stop the event is tried in its place (retry). Each try is written to event_attempts before, outside of any transaction of the
// handler. The same is done under every policy for the events of a partition whose last owner died (Lease.Inherited): any of them may
// be the cause. An event with a written try is not put into a batch again, and one with two of them has failed. An event that an
// operator wants skipped is skipped before the next try.
//
// # Deadlines
//
// An event that its handler wants no earlier than a time (NotBefore) is set aside with that time as due_at, under every policy, also Stop:
// the queue is that of the tries, with what counts left out. The try that found it out is taken back, last_error becomes empty, and a row
// that is first, has a time and no error has not failed: it is deferred. Tries that have counted before stay. The pause is
// that of the handler's clock, which has compared the time, and at least leastDeferral; the database adds it to its own. At its time it is
// tried as any other that is due, and what fails then counts, and gives the event up after Retry.Tries: under Stop as under Park, because
// the checkpoint has passed it.
//
// In a batch of Apply the event is known (deferred): what is before it is handled in one transaction, it is set aside in another, and the
// rest goes on; a Batched projection says which it is too. The batch of another ApplyBatch is halved, which sends nothing, because it fails
// before its statements are sent.
//
// # Waiting
//
// Every failure of an event by itself that is the event's or the service's goes before the Breaker of the projection: in retry for
// events at the checkpoint, in failedAgain for those that were set aside. It rules whether the failure counts. While it is open, lanes
// leave what they have not tried (mayTry), RetryParked is not called, and Trial tries one event when the pause is over. An event that
// yields to the others is set aside like one that has failed, with no try and due at once (uncounted).
//
// # Whose fault a failure is
//
// What decides is whose statement failed, and not what its error looks like. Begin, settings, save and the notes of attempts are the
// worker's; all else is the handler's: its statements, what it returns, and the deferred constraints that a commit checks. Where an
// error comes from it is judged (blame.go), and blameOf finds the judgement:
//
//	ofWorker              a statement of the worker's own was refused, or its session was lost; another session
//	                      holds the checkpoints (ErrHeld); a partition has changed hands, or the database has
//	                      crashed (catchup.ErrFenced, as ErrLeaseLost); or the handler hangs (HungError; its
//	                      connection is cut, and the try counts by NoteTried). The caller starts over from the
//	                      checkpoints, and nothing counts.
//	ofOthers              the handler's statement, or the commit, had a serialization failure, a deadlock, a lock
//	                      that is held, or no room on the disk; or the session was lost alone. A batch is tried
//	                      three times as a whole where others were in its way, then halved. A single event is
//	                      tried again with pauses from 1 ms on, and after a second set aside and tried every
//	                      second, so that nobody waits for it; under Stop it keeps its place. That counts once it
//	                      has lasted a minute (patience). The log says so at once, and every 10 s.
//	ofEvent               everything else, with every SQLSTATE: an error of the handler's own statement, of another
//	                      database, a panic, a call that exceeds Handler.Timeout, an end of the goroutine or of
//	                      the transaction, rows left open. The try counts.
//	ofService             an error that Unavailable marks, whatever else is in it. No try counts; the breaker opens,
//	                      and the event keeps its place.
//
//	ofTime                NotBefore, whatever else is in it but Unavailable: nothing has failed, and neither the breaker nor a hook hears
//	                      of it. See "Deadlines".
//
// An error of Do says nothing about this database, so it is ofEvent whatever is in it. Once workCtx has ended, no failure counts: the
// end of the context may be the cause.
//
// # A session that is lost
//
// The server does not say why a session ended, and often says nothing. Before a handler's first statement it is the worker's. Under
// the handler's work, in a batch that travels as a whole, and in the commit, nobody can tell whether the work has ended it (memory,
// a crash of its backend) or somebody else (a failover, a proxy, an operator). What else happens decides (lost.go):
//
//  1. The worker asks the idle sessions of its pool, or a new one if none is idle. If one of them is lost too, or none can be had
//     within 3 s, it is an outage: ofWorker.
//  2. If all are well the session was lost alone: ofOthers. A try is written down at each event of the batch, as after the death of
//     a process, and the batch is halved. So the good events are done, and one is left.
//  3. That one is tried again by itself. Sessions that are ended by somebody else end when he stops. If only the sessions of this
//     event are lost for as long as the patience, it is the event's, and counts.
//
// # Tries without a verdict
//
// A try is written down before it is made. If it succeeds, the transaction of the event deletes the note; if it fails, the note is
// its count; if the process dies, too. A try that ends in an outage, with a lost lease or in a stop has said nothing about the event.
// Untold keeps these beyond the Applier, and the projector takes them back in the table before its next session reads it, also where
// others own the partitions by then, and when it leaves. The table adds up, and not the process, so that two owners can write.
package apply
