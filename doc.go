// Package rouse turns events in a PostgreSQL table into read models: pushed when an event is appended, exactly once, in
// order per aggregate, over one or many worker processes.
//
// A Worker reads the log of events from the checkpoints of its projections on, hands the events to the projections, and
// commits their writes together with the checkpoint, in one transaction. Between events it sleeps, and an append wakes
// it.
//
//	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{rouse.Batched(balances{})}})
//	if err != nil {
//		return err
//	}
//	return worker.Run(ctx) // until ctx is cancelled
//
// # Forms of a projection
//
// A Queuer queues the statements of one event, without sending them. Batched makes a projection of it, which is the form to begin with:
// the statements of many events travel in one round trip, with the begin, the checkpoints and the commit. A BatchProjection gets the
// events of a batch together, and can make one statement of them, which is faster still. A Projection that is neither sends its
// statements itself, in Apply: it can read and decide, and waits for the answer to each. While a history is worked through, that is an
// order of magnitude slower; for one event at a time it is two or three round trips more.
//
// projection.New makes these forms of functions that take events as values of Go types, which package events knows, and names the types of the
// events by itself.
//
// # Several workers
//
// Workers of the same projection share its partitions evenly, and share them anew when a worker joins, leaves or dies.
// No worker is configured with the others, and no event is handled again or left out. Config.TotalWorkers fixes the
// shares instead. Package partition describes the mechanism.
//
// # Promises
//
// Every committed event reaches every projection, whatever order transactions commit in; no timeout decides that a slow
// commit is dead. Events of one aggregate are handled in the order of the log, by one handler at a time. The writes of
// a Projection through its transaction happen exactly once. The work of an Effect outside the database happens at least
// once; the event's ID is its idempotency key, and LeaseOf returns a token by which an outside service can refuse a
// worker that has been replaced.
//
// # Limits
//
// An append that stays open holds back the events behind it, because it may still fill the hole below them. With
// asynchronous commit, the default, a crash of the server may take back the latest read-model changes together with
// their checkpoints; the events are then handled again, but a reader outside the database may have seen the lost
// changes. See Config.SyncCommit.
//
// The schema comes from package migrations; a Worker never changes it.
package rouse
