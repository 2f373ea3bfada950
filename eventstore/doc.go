// Package eventstore appends events to the log in PostgreSQL and reads them back.
//
// An event is one immutable fact about one aggregate. The events of an aggregate form a [Stream], numbered from 1
// without holes; all events together form the log, ordered by global position. [Append] adds events to a stream inside
// the caller's transaction, so that the transaction's other writes commit together with them:
//
//	appended, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "42"}, eventstore.Exact(3),
//		eventstore.NewEvent{Type: "OrderPaid", Payload: json.RawMessage(`{"amount": 1250}`)})
//
// The expected version is the version that the caller had seen when it decided; [ErrConflict] is returned if another
// writer was faster. [ReadStream] returns the events that a decision is made from.
//
// # Other writers
//
// Append is a convenience, not a gate. Events that come in by plain SQL, COPY, psql or a program in another language
// are equal to those of Append: triggers on the table carry everything that readers depend on. Append only has to deal
// with them, and does: the unique constraints of the table decide, not a lock that others would not take.
//
// # Before use
//
//   - Global positions are given out when a row is inserted and seen when its transaction commits, so they can become
//     visible out of order. [ReadAfter] returns the visible events and is for tools and tests; a projection that must miss
//     no event runs in a Worker, which waits for slow commits.
//   - An append takes a position and a shared lock at once and holds the lock until the transaction ends. Keep such
//     transactions short: an open one holds back all readers of the events behind it.
//   - Append waits while another transaction holds the same version of the same stream uncommitted. Its context bounds
//     the wait; when the context ends first, pgx closes the connection and the transaction is lost with it.
//   - A transaction that is prepared (two-phase commit) after an append fails while a worker sleeps, because PostgreSQL
//     cannot prepare a transaction that has notified.
//   - All functions here work in every query mode of pgx, so also through a transaction pooler.
package eventstore
